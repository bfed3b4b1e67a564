/* sha256.h - SHA-256 by OpenSSL's EVP. */
#ifndef CALIB_IO_SHA256_H
#define CALIB_IO_SHA256_H
#include "kvc/kvc.h"
void sha256_bytes(const void *bytes, size_t n, uint8_t out[32]);
kvc_status sha256_file(const char *path, uint8_t out[32], kvc_error *err);
void sha256_hex(const uint8_t hash[32], char out[65]);
#endif
