/* default_params.h - parameters of attend_kernel.cu as codegen writes them, for one ordinary case: keys int4.ch64,
 * values int4.tok, heads of 128, four query heads to a KV head. */
#define ATTEND_NAME attend_int4_ch64_int4_tok128_d128_g4_p64
#define ATTEND_HEAD_DIM 128
#define ATTEND_GROUP 4   /* query heads of a KV head */
#define ATTEND_COLUMNS 8 /* query heads of a group times tokens of a batch, a multiple of 8: of the main kernel */
#define ATTEND_SOFTCAP 0 /* 1: scores are capped, by the batch's softcap */
#define ATTEND_PAGE 64
#define ATTEND_TILE 64 /* tokens of a stage */
#define ATTEND_STAGES 3
#define ATTEND_WARPS 8
#define ATTEND_SHARED_BYTES 216864 /* of a block: what an image needs is in its attend_info */
#define ATTEND_ROOM 232448         /* bytes that a block may have */

/* SYMBOL: ATTEND_FP16, ATTEND_INT (BITS, SCALE: ATTEND_TOK or ATTEND_CH, SCALE_GROUP), ATTEND_TABLE (BITS, DIMS),
 * ATTEND_BYTE_TABLE (the same), ATTEND_SHARED (MOST: codes of a head, TABLE_BYTES: of one length of codes) or
 * ATTEND_SHARED_BYTE_TABLES (the same); and of codes decoded one by one ATTEND_SINGLE_TABLES (BITS, DIMS or, of a
 * mix, SEGMENTS; SCALE: 0, or ATTEND_HEAD or ATTEND_STATIC whose the tables are), ATTEND_SINGLE_SEGMENTS (SEGMENTS,
 * SCALE_GROUP, 0: tables) or ATTEND_SINGLE_INT (as ATTEND_INT). What a symbol has no use for is 0. LATENT: channels
 * of a row; SEGMENTS: byte k is that of the codec. */
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
#define ATTEND_VALUE_BITS 4
#define ATTEND_VALUE_SCALE ATTEND_TOK
#define ATTEND_VALUE_SCALE_GROUP 128
#define ATTEND_VALUE_LATENT 128
#define ATTEND_VALUE_DIMS 0
#define ATTEND_VALUE_MOST 0
#define ATTEND_VALUE_TABLE_BYTES 0
#define ATTEND_VALUE_SEGMENTS 0

/* What the image says of itself: a stale one is refused. */
#define ATTEND_KEY_TEXT "int4.ch64 int4.tok128 d128 g4 p64 c8"
#define ATTEND_TEMPLATE_HASH "0000000000000000000000000000000000000000000000000000000000000000"
