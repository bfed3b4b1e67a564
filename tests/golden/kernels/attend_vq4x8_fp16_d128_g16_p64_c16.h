/* attend_vq4x8_fp16_d128_g16_p64_c16.h - parameters of template/attend_kernel.cu, written by kvcalib:
 * keys   vq4x8: codes of 8 bits for 4 channels, a table of 256 entries
 * values fp16: fp16 rows
 * heads of 128 channels, 16 query heads to a KV head, pages of 64 tokens, 16 columns */
#define ATTEND_NAME attend_vq4x8_fp16_d128_g16_p64_c16
#define ATTEND_HEAD_DIM 128
#define ATTEND_GROUP 16
#define ATTEND_COLUMNS 16
#define ATTEND_SOFTCAP 0
#define ATTEND_PAGE 64
#define ATTEND_TILE 16
#define ATTEND_STAGES 4
#define ATTEND_WARPS 8
#define ATTEND_SHARED_BYTES 214880
#define ATTEND_ROOM 232448

#define ATTEND_KEY_SYMBOL ATTEND_TABLE
#define ATTEND_KEY_BITS 8
#define ATTEND_KEY_SCALE 0
#define ATTEND_KEY_SCALE_GROUP 0
#define ATTEND_KEY_LATENT 128
#define ATTEND_KEY_DIMS 4
#define ATTEND_KEY_MOST 0
#define ATTEND_KEY_TABLE_BYTES 0
#define ATTEND_KEY_SEGMENTS 0

#define ATTEND_VALUE_SYMBOL ATTEND_FP16
#define ATTEND_VALUE_BITS 0
#define ATTEND_VALUE_SCALE 0
#define ATTEND_VALUE_SCALE_GROUP 0
#define ATTEND_VALUE_LATENT 128
#define ATTEND_VALUE_DIMS 0
#define ATTEND_VALUE_MOST 0
#define ATTEND_VALUE_TABLE_BYTES 0
#define ATTEND_VALUE_SEGMENTS 0

#define ATTEND_KEY_TEXT "vq4x8 fp16 d128 g16 p64 c16"
#define ATTEND_TEMPLATE_HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
