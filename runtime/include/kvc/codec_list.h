/* codec_list.h - the one list of codec pieces. Every layer expands it with its own X.
 *
 * X(name, wire_id, since_format): the piece `name` of a spec string, implemented in codec/<name>.c, which
 * defines kvci_symbol_<name> or kvci_transform_<name> (pieces.h); a forgotten file is a link error that names
 * it. A wire id is what cfg.bin stores: never reused, never renumbered. since_format is a literal (major *
 * 1000 + minor): the first format version whose readers know the piece. To add one: write its FORMAT.md
 * section, then a line here. */
#ifndef KVC_CODEC_LIST_H
#define KVC_CODEC_LIST_H

#define KVC_SYMBOL_LIST(X)                                                                                           \
    X(fp16, 1, 1000)                                                                                                 \
    X(int, 2, 1000)                                                                                                  \
    X(lut, 4, 1001)                                                                                                  \
    X(vq, 5, 1001)                                                                                                   \
    X(seg, 6, 1001)

#define KVC_TRANSFORM_LIST(X)                                                                                        \
    X(had, 1, 1000)                                                                                                  \
    X(smooth, 2, 1001)                                                                                               \
    X(perm, 3, 1001)                                                                                                 \
    X(rot, 4, 1001)                                                                                                  \
    X(klt, 5, 1001)

/* Words of the grammar whose wire ids are set but which this version cannot encode. */
#define KVC_SYMBOL_RESERVED(X) X(fp8, 3)

#define KVC_TRANSFORM_RESERVED(X) X(tucker, 6)

/* KVC_SYMBOL_vq, KVC_TRANSFORM_klt, ...: wire ids by name. */
#define KVC_SYMBOL_ID(name, wire_id, since_format) KVC_SYMBOL_##name = wire_id,
#define KVC_TRANSFORM_ID(name, wire_id, since_format) KVC_TRANSFORM_##name = wire_id,
enum { KVC_SYMBOL_LIST(KVC_SYMBOL_ID) };
enum { KVC_TRANSFORM_LIST(KVC_TRANSFORM_ID) };
#undef KVC_SYMBOL_ID
#undef KVC_TRANSFORM_ID

#endif
