/* clones.h - may a function be compiled for several instruction sets, one of which the loader picks?
 *
 * Build level, for the hot loops of the runtime and of calibrators: which clones are worth having, and whether their
 * results may differ, is each folder's own choice. */
#ifndef KVC_CLONES_H
#define KVC_CLONES_H

/* The loader chooses through an ifunc, which glibc has and which the sanitizers start too late for. Clang before 16
 * names the clones of a function that other files call so that they do not link. */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define KVC_HAS_CLONES
#endif

#endif
