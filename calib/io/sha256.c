#include "sha256.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* EVP fails only where OpenSSL was built without SHA-256 or memory is gone: neither can be answered here. */
static void must(int ok)
{
    if (!ok) abort();
}

void sha256_bytes(const void *bytes, size_t n, uint8_t out[32])
{
    must(EVP_Digest(bytes, n, out, NULL, EVP_sha256(), NULL));
}

kvc_status sha256_file(const char *path, uint8_t out[32], kvc_error *err)
{
    enum { CHUNK = 1 << 18 };
    FILE *f = fopen(path, "rbe");
    if (!f) return kvc_fail(err, KVC_INPUT, "%s: %s", path, strerror(errno));
    char *buffer = malloc(CHUNK);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    must(buffer && context && EVP_DigestInit_ex(context, EVP_sha256(), NULL));
    size_t got;
    errno = 0;
    while ((got = fread(buffer, 1, CHUNK, f)) > 0) must(EVP_DigestUpdate(context, buffer, got));
    kvc_status status = KVC_OK;
    if (ferror(f)) status = kvc_fail(err, KVC_INPUT, "%s: cannot be read: %s", path, strerror(errno));
    must(EVP_DigestFinal_ex(context, out, NULL));
    EVP_MD_CTX_free(context);
    free(buffer);
    fclose(f);
    return status;
}

void sha256_hex(const uint8_t hash[32], char out[65])
{
    for (int i = 0; i < 32; i++) sprintf(out + 2 * i, "%02x", hash[i]);
}
