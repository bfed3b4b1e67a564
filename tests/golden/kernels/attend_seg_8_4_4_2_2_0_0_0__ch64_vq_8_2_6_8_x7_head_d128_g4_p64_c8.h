/* attend_seg_8_4_4_2_2_0_0_0__ch64_vq_8_2_6_8_x7_head_d128_g4_p64_c8.h - parameters of template/attend_kernel.cu, written by kvcalib:
 * keys   seg[8,4,4,2,2,0,0,0].ch64: codes decoded one by one, 80 a row
 * values vq[8*2,6*8]x7.head: codes decoded one by one, 28 a row
 * heads of 128 channels, 4 query heads to a KV head, pages of 64 tokens, 8 columns */
#define ATTEND_NAME attend_seg_8_4_4_2_2_0_0_0__ch64_vq_8_2_6_8_x7_head_d128_g4_p64_c8
#define ATTEND_HEAD_DIM 128
#define ATTEND_GROUP 4
#define ATTEND_COLUMNS 8
#define ATTEND_SOFTCAP 0
#define ATTEND_PAGE 64
#define ATTEND_TILE 32
#define ATTEND_STAGES 4
#define ATTEND_WARPS 8
#define ATTEND_SHARED_BYTES 143712
#define ATTEND_ROOM 232448

#define ATTEND_KEY_SYMBOL ATTEND_SINGLE_SEGMENTS
#define ATTEND_KEY_BITS 0
#define ATTEND_KEY_SCALE ATTEND_CH
#define ATTEND_KEY_SCALE_GROUP 64
#define ATTEND_KEY_LATENT 128
#define ATTEND_KEY_DIMS 0
#define ATTEND_KEY_MOST 0
#define ATTEND_KEY_TABLE_BYTES 0
#define ATTEND_KEY_SEGMENTS 0x0000000202040408

#define ATTEND_VALUE_SYMBOL ATTEND_SINGLE_TABLES
#define ATTEND_VALUE_BITS 7
#define ATTEND_VALUE_SCALE ATTEND_HEAD
#define ATTEND_VALUE_SCALE_GROUP 0
#define ATTEND_VALUE_LATENT 128
#define ATTEND_VALUE_DIMS 0
#define ATTEND_VALUE_MOST 0
#define ATTEND_VALUE_TABLE_BYTES 0
#define ATTEND_VALUE_SEGMENTS 0x0000000006000800

#define ATTEND_KEY_TEXT "seg[8,4,4,2,2,0,0,0].ch64 vq[8*2,6*8]x7.head d128 g4 p64 c8"
#define ATTEND_TEMPLATE_HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
