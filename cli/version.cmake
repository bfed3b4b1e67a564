cmake_minimum_required(VERSION 3.25)
# Write version.h with the version and the commit, at every build, but touch it only when they change.
#   cmake -DSOURCE=... -DVERSION=... -DOUTPUT=... -P version.cmake
execute_process(COMMAND git describe --always --dirty --abbrev=10 --exclude=*
  WORKING_DIRECTORY ${SOURCE} OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
file(CONFIGURE OUTPUT ${OUTPUT} @ONLY CONTENT "#define KVCALIB_VERSION \"@VERSION@\"\n#define KVCALIB_COMMIT \"@commit@\"\n")
