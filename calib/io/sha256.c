#include "sha256.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sha256_bytes(const void *bytes, size_t n, uint8_t out[32])
{
    /* Fails only in an OpenSSL without SHA-256 or without memory for one context: there is no status to say so. */
    if (!EVP_Digest(bytes, n, out, NULL, EVP_sha256(), NULL)) abort();
}

static kvc_status hash_stream(EVP_MD_CTX *context, FILE *f, const char *path, uint8_t out[32], kvc_error *err)
{
    char buffer[1 << 16];
    size_t got;
    int ok = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL);
    errno = 0;
    while (ok && (got = fread(buffer, 1, sizeof buffer, f)) > 0) ok = EVP_DigestUpdate(context, buffer, got);
    if (ferror(f)) return kvc_fail(err, KVC_INPUT, "%s: cannot be read: %s", path, strerror(errno));
    if (ok && EVP_DigestFinal_ex(context, out, NULL)) return KVC_OK;
    return kvc_fail(err, KVC_NO_MEMORY, "%s: SHA-256 failed", path);
}

kvc_status sha256_file(const char *path, uint8_t out[32], kvc_error *err)
{
    FILE *f = fopen(path, "rbe");
    if (!f) return kvc_fail(err, KVC_INPUT, "%s: %s", path, strerror(errno));
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    kvc_status status = hash_stream(context, f, path, out, err);
    EVP_MD_CTX_free(context);
    fclose(f);
    return status;
}

void sha256_hex(const uint8_t hash[32], char out[65])
{
    for (int i = 0; i < 32; i++) sprintf(out + 2 * i, "%02x", hash[i]);
}
