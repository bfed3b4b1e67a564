/* h5.c - what reading and writing HDF5 images share: types, sizes, errors. */
#include "h5.h"
#include <stdlib.h>

size_t h5_field_count(const h5_field *f)
{
    size_t n = 1;
    for (unsigned i = 0; i < f->rank; i++) n *= f->dims[i];
    return n;
}

size_t h5_field_bytes(const h5_field *f)
{
    static const size_t size[] = {[H5_U8] = 1, [H5_U16] = 2, [H5_U32] = 4, [H5_U64] = 8, [H5_F64] = 8};
    return h5_field_count(f) * (f->kind == H5_TEXT ? f->text_bytes : size[f->kind]);
}

hid_t h5_type(const h5_field *f)
{
    hid_t type;
    switch (f->kind) {
    case H5_U8: return H5Tcopy(H5T_STD_U8LE);
    case H5_U16: return H5Tcopy(H5T_STD_U16LE);
    case H5_U32: return H5Tcopy(H5T_STD_U32LE);
    case H5_U64: return H5Tcopy(H5T_STD_U64LE);
    case H5_F64: return H5Tcopy(H5T_IEEE_F64LE);
    case H5_TEXT: break;
    }
    type = H5Tcopy(H5T_C_S1);
    if (type >= 0 && H5Tset_size(type, f->text_bytes) < 0) {
        H5Tclose(type);
        return -1;
    }
    return type;
}

static herr_t keep_first(unsigned n, const H5E_error2_t *entry, void *out)
{
    if (n == 0) *(const char **)out = entry->desc;
    return 0;
}

kvc_status h5_fail(kvc_status status, const h5_file *file, const char *what, kvc_error *err)
{
    const char *cause = NULL;
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first, &cause);
    kvc_fail(err, status, "%s: %s%s%s", file->name, what, cause && *cause ? ": HDF5: " : "", cause ? cause : "");
    H5Eclear2(H5E_DEFAULT);
    return status;
}

void h5_quiet(h5_file *file)
{
    H5Eget_auto2(H5E_DEFAULT, &file->old_report, &file->old_context);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    file->quiet = true;
}

void h5_close(h5_file *file)
{
    if (file->id >= 0) H5Fclose(file->id);
    if (file->quiet) H5Eset_auto2(H5E_DEFAULT, file->old_report, file->old_context);
    H5Eclear2(H5E_DEFAULT);
    free(file->image);
    file->image = NULL;
    file->quiet = false;
    file->id = -1;
}
