/* planes.h - a stream of codes in planes, as "vq", "lut" and "seg" have it (FORMAT.md, "vq"): one plane for each of
 * the binary digits 8, 4, 2, 1 of the bits, the first with the lowest bits of every code. In a plane of w bits field
 * t is bits t w mod 8 and up of byte t w / 8, so that 8 codes are whole bytes. */
#ifndef RUNTIME_CODEC_PLANES_H
#define RUNTIME_CODEC_PLANES_H
#include <stddef.h>
#include <stdint.h>

/* Fields first .. first + n - 1 of a stream of n_fields, all three multiples of 8; `planes` is where the first plane
 * begins. codes [n], each less than 2^bits; bits up to 15. */
void kvci_planes_pack(const uint16_t *codes, uint32_t n, size_t first, uint32_t bits, size_t n_fields,
                      uint8_t *planes);
void kvci_planes_unpack(const uint8_t *planes, uint32_t n, size_t first, uint32_t bits, size_t n_fields,
                        uint16_t *codes);
#endif
