/* libyaml.h - libyaml's own <yaml.h>, which the yaml.h of this folder hides. Include as <libyaml.h>: the
 * search for the next yaml.h then goes on after this folder. */
#ifndef CALIB_IO_LIBYAML_H
#define CALIB_IO_LIBYAML_H
#include_next <yaml.h>
#endif
