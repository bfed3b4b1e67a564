/* h5_read.c - HDF5 images, read. Only plain files get through: hard links, contiguous datasets without filters or
 * external storage, exactly the type and the shape that are asked for; so nothing outside the image is ever opened
 * and nothing is allocated that the image does not hold. */
#include "h5.h"
#include <string.h>

static bool is_plain(hid_t set)
{
    hid_t creation = H5Dget_create_plist(set);
    bool plain = H5Pget_layout(creation) == H5D_CONTIGUOUS && H5Pget_external_count(creation) == 0;
    H5Pclose(creation);
    return plain;
}

static bool is_hard_link(hid_t where, const char *name)
{
    H5L_info_t info;
    return H5Lget_info(where, name, &info, H5P_DEFAULT) >= 0 && info.type == H5L_TYPE_HARD;
}

/* Open "group/name"; the caller closes *set. */
static kvc_status open_set(const h5_file *file, const char *path, hid_t *set, kvc_error *err)
{
    char group[64] = "";
    strncat(group, path, strcspn(path, "/"));
    if (!is_hard_link(file->id, group) || !is_hard_link(file->id, path))
        return kvc_fail(err, KVC_FORMAT, "%s: %s: is missing, or a link", file->name, path);
    *set = H5Dopen2(file->id, path, H5P_DEFAULT);
    KVC_TRY_HDF5(*set, KVC_FORMAT, file, path, err);
    if (is_plain(*set)) return KVC_OK;
    H5Dclose(*set);
    return kvc_fail(err, KVC_FORMAT, "%s: %s: is not stored as one plain block", file->name, path);
}

static bool has_type(hid_t set, const h5_field *f)
{
    hid_t want = h5_type(f), type = H5Dget_type(set);
    bool same = H5Tequal(type, want) > 0;
    H5Tclose(type);
    H5Tclose(want);
    return same;
}

static bool has_shape(hid_t set, const h5_field *f)
{
    hsize_t dims[H5S_MAX_RANK];
    hid_t space = H5Dget_space(set);
    bool same = H5Sget_simple_extent_ndims(space) == (int)f->rank &&
                H5Sget_simple_extent_type(space) == (f->rank ? H5S_SIMPLE : H5S_SCALAR) &&
                H5Sget_simple_extent_dims(space, dims, NULL) >= 0;
    for (unsigned i = 0; same && i < f->rank; i++) same = dims[i] == f->dims[i];
    H5Sclose(space);
    return same;
}

static kvc_status check_texts(const h5_file *file, const h5_field *f, kvc_error *err)
{
    const char *text = f->data;
    for (size_t i = 0; i < h5_field_count(f); i++, text += f->text_bytes)
        if (!memchr(text, 0, f->text_bytes))
            return kvc_fail(err, KVC_FORMAT, "%s: %s: a text does not end", file->name, f->path);
    return KVC_OK;
}

static kvc_status read_set(const h5_file *file, hid_t set, const h5_field *f, kvc_error *err)
{
    if (!has_type(set, f))
        return kvc_fail(err, KVC_FORMAT, "%s: %s: has another type than expected", file->name, f->path);
    if (!has_shape(set, f))
        return kvc_fail(err, KVC_FORMAT, "%s: %s: has another shape than expected", file->name, f->path);
    if (!h5_field_count(f)) return KVC_OK;
    if (H5Dget_storage_size(set) != h5_field_bytes(f) || h5_field_bytes(f) > file->bytes)
        return kvc_fail(err, KVC_FORMAT, "%s: %s: is not stored in full", file->name, f->path);
    hid_t type = h5_type(f);
    herr_t done = H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, f->data);
    H5Tclose(type);
    KVC_TRY_HDF5(done, KVC_FORMAT, file, f->path, err);
    return f->kind == H5_TEXT ? check_texts(file, f, err) : KVC_OK;
}

kvc_status h5_get(h5_file *file, const h5_field *f, kvc_error *err)
{
    hid_t set;
    KVC_TRY(open_set(file, f->path, &set, err));
    kvc_status status = read_set(file, set, f, err);
    H5Dclose(set);
    return status;
}

kvc_status h5_length(h5_file *file, const char *path, uint64_t *n, kvc_error *err)
{
    hid_t set;
    hsize_t dims[H5S_MAX_RANK];
    KVC_TRY(open_set(file, path, &set, err));
    hid_t space = H5Dget_space(set);
    bool ok = H5Sget_simple_extent_dims(space, dims, NULL) > 0;
    H5Sclose(space);
    H5Dclose(set);
    if (!ok) return kvc_fail(err, KVC_FORMAT, "%s: %s: has another shape than expected", file->name, path);
    *n = dims[0];
    return KVC_OK;
}

kvc_status h5_text_bytes(h5_file *file, const char *path, size_t *n, kvc_error *err)
{
    hid_t set;
    KVC_TRY(open_set(file, path, &set, err));
    hid_t type = H5Dget_type(set);
    bool ok = H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0;
    *n = ok ? H5Tget_size(type) : 0;
    H5Tclose(type);
    ok = ok && *n && *n <= file->bytes;
    H5Dclose(set);
    return ok ? KVC_OK : kvc_fail(err, KVC_FORMAT, "%s: %s: has another type than expected", file->name, path);
}

static bool attribute_is(hid_t object, const h5_field *f, const void *want)
{
    char got[64];
    bool same = false;
    hid_t type = h5_type(f), attribute = H5Aopen(object, f->path, H5P_DEFAULT);
    if (attribute >= 0) {
        hid_t stored = H5Aget_type(attribute), space = H5Aget_space(attribute);
        same = H5Tequal(stored, type) > 0 && H5Sget_simple_extent_npoints(space) == 1 &&
               H5Aread(attribute, type, got) >= 0 && memcmp(got, want, h5_field_bytes(f)) == 0;
        H5Sclose(space);
        H5Tclose(stored);
        H5Aclose(attribute);
    }
    H5Tclose(type);
    return same;
}

kvc_status h5_open(h5_file *out, const char *name, void *bytes, size_t n, const char *kind, uint32_t schema,
                   kvc_error *err)
{
    *out = (h5_file){.id = -1, .name = name, .bytes = n};
    h5_quiet(out);
    if (!n) return kvc_fail(err, KVC_FORMAT, "%s: is not an HDF5 file: it is empty", name);
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_fapl_core(access, (size_t)1 << 16, 0);
    herr_t given = H5Pset_file_image(access, bytes, n);
    if (given >= 0) out->id = H5Fopen(H5_NO_FILE, H5F_ACC_RDONLY, access);
    kvc_status status = KVC_OK;
    if (given < 0)
        status = h5_fail(KVC_NO_MEMORY, out, "out of memory", err);
    else if (out->id < 0)
        status = h5_fail(KVC_FORMAT, out, "is not an HDF5 file, or a damaged one", err);
    H5Pclose(access);
    KVC_TRY(status);
    h5_field kind_field = {.path = "kind", .kind = H5_TEXT, .text_bytes = strlen(kind) + 1};
    h5_field schema_field = {.path = "schema", .kind = H5_U32};
    if (!attribute_is(out->id, &kind_field, kind))
        return kvc_fail(err, KVC_FORMAT, "%s: attribute \"kind\" is not \"%s\"", name, kind);
    if (!attribute_is(out->id, &schema_field, &schema))
        return kvc_fail(err, KVC_FORMAT,
                        "%s: attribute \"schema\" is not %u: another version of kvcalib wrote it, make it anew", name,
                        schema);
    return KVC_OK;
}
