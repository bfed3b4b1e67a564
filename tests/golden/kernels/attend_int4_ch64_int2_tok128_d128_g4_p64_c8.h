/* attend_int4_ch64_int2_tok128_d128_g4_p64_c8.h - parameters of template/attend_kernel.cu, written by kvcalib:
 * keys   int4.ch64: integers of 4 bits, scale and minimum per channel for 64 tokens
 * values int2.tok128: integers of 2 bits, scale and minimum per token
 * heads of 128 channels, 4 query heads to a KV head, pages of 64 tokens, 8 columns */
#define ATTEND_NAME attend_int4_ch64_int2_tok128_d128_g4_p64_c8
#define ATTEND_HEAD_DIM 128
#define ATTEND_GROUP 4
#define ATTEND_COLUMNS 8
#define ATTEND_SOFTCAP 0
#define ATTEND_PAGE 64
#define ATTEND_TILE 64
#define ATTEND_STAGES 4
#define ATTEND_WARPS 8
#define ATTEND_SHARED_BYTES 223072
#define ATTEND_ROOM 232448

#define ATTEND_KEY_SYMBOL ATTEND_INT
#define ATTEND_KEY_BITS 4
#define ATTEND_KEY_SCALE ATTEND_CH
#define ATTEND_KEY_SCALE_GROUP 64
#define ATTEND_KEY_LATENT 128
#define ATTEND_KEY_DIMS 0
#define ATTEND_KEY_MOST 0
#define ATTEND_KEY_TABLE_BYTES 0
#define ATTEND_KEY_SEGMENTS 0

#define ATTEND_VALUE_SYMBOL ATTEND_INT
#define ATTEND_VALUE_BITS 2
#define ATTEND_VALUE_SCALE ATTEND_TOK
#define ATTEND_VALUE_SCALE_GROUP 128
#define ATTEND_VALUE_LATENT 128
#define ATTEND_VALUE_DIMS 0
#define ATTEND_VALUE_MOST 0
#define ATTEND_VALUE_TABLE_BYTES 0
#define ATTEND_VALUE_SEGMENTS 0

#define ATTEND_KEY_TEXT "int4.ch64 int2.tok128 d128 g4 p64 c8"
#define ATTEND_TEMPLATE_HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
