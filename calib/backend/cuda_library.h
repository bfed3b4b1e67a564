/* cuda_library.h - a library of CUDA's that is opened when it is needed: hundreds of megabytes that no other run of
 * the program should map. */
#ifndef CALIB_BACKEND_CUDA_LIBRARY_H
#define CALIB_BACKEND_CUDA_LIBRARY_H
#include "kvc/kvc.h"

#define CUDA_TEXT_OF(x) #x
#define CUDA_TEXT(x) CUDA_TEXT_OF(x)

/* By its name, where the system looks for libraries, else where the build found it. On failure *out is NULL. Once
 * loaded it stays: its own state outlives handles. */
kvc_status cuda_library_open(void **out, const char *name, kvc_error *err);
/* The function `symbol` to where `to` points. */
kvc_status cuda_library_find(void *library, const char *name, const char *symbol, void *to, kvc_error *err);
void cuda_library_close(void *library); /* NULL is fine */
#endif
