/* h5_write.c - HDF5 images, written.
 * The same calls give the same bytes: format bounds fixed at 1.8, no times, every dataset contiguous and fully
 * written. */
#include "h5.h"
#include <stdlib.h>
#include <string.h>

#define GROW ((size_t)1 << 20) /* of the image */

/* A property list of `class` for objects without times. */
static hid_t timeless(hid_t class)
{
    hid_t list = H5Pcreate(class);
    if (list >= 0) H5Pset_obj_track_times(list, 0);
    return list;
}

static kvc_status add_attribute(const h5_file *file, hid_t object, const char *name, const h5_field *f,
                                kvc_error *err)
{
    hid_t type = h5_type(f), space = H5Screate(H5S_SCALAR);
    hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    herr_t written = attribute < 0 ? -1 : H5Awrite(attribute, type, f->data);
    kvc_status status = written < 0 ? h5_fail(KVC_NO_MEMORY, file, name, err) : KVC_OK;
    if (attribute >= 0) H5Aclose(attribute);
    H5Sclose(space);
    H5Tclose(type);
    return status;
}

static kvc_status add_text_attribute(const h5_file *file, hid_t object, const char *name, const char *text,
                                     kvc_error *err)
{
    h5_field f = {.path = name, .kind = H5_TEXT, .text_bytes = strlen(text) + 1, .data = (void *)text};
    return add_attribute(file, object, name, &f, err);
}

static void *image_malloc(size_t n, H5FD_file_image_op_t op, void *file)
{
    (void)op, (void)file;
    return malloc(n);
}

static void *image_copy(void *to, const void *from, size_t n, H5FD_file_image_op_t op, void *file)
{
    (void)op, (void)file;
    return memcpy(to, from, n);
}

static void *image_realloc(void *image, size_t n, H5FD_file_image_op_t op, void *file)
{
    (void)op, (void)file;
    return realloc(image, n);
}

static herr_t image_free(void *image, H5FD_file_image_op_t op, void *file)
{
    if (op == H5FD_FILE_IMAGE_OP_FILE_CLOSE)
        ((h5_file *)file)->image = image;
    else
        free(image);
    return 0;
}

static void *same_context(void *file)
{
    return file;
}

static herr_t keep_context(void *file)
{
    (void)file;
    return 0;
}

kvc_status h5_create(h5_file *out, const char *name, const char *kind, uint32_t schema, kvc_error *err)
{
    *out = (h5_file){.id = -1, .name = name};
    h5_quiet(out);
    hid_t access = H5Pcreate(H5P_FILE_ACCESS), creation = timeless(H5P_FILE_CREATE);
    H5FD_file_image_callbacks_t keep = {image_malloc, image_copy, image_realloc, image_free, same_context,
                                        keep_context, out};
    H5Pset_fapl_core(access, GROW, 0);
    H5Pset_file_image_callbacks(access, &keep);
    H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18);
    out->id = H5Fcreate(H5_NO_FILE, H5F_ACC_TRUNC, creation, access);
    kvc_status status = out->id < 0 ? h5_fail(KVC_NO_MEMORY, out, "cannot start an HDF5 image", err) : KVC_OK;
    H5Pclose(creation);
    H5Pclose(access);
    KVC_TRY(status);
    h5_field version = {.path = "schema", .kind = H5_U32, .data = &schema};
    KVC_TRY(add_text_attribute(out, out->id, "kind", kind, err));
    return add_attribute(out, out->id, "schema", &version, err);
}

/* The group of a path, made if it is not there yet. */
static hid_t group_of(const h5_file *file, const char *path)
{
    char name[64] = "";
    strncat(name, path, strcspn(path, "/"));
    if (H5Lexists(file->id, name, H5P_DEFAULT) > 0) return H5Gopen2(file->id, name, H5P_DEFAULT);
    hid_t creation = timeless(H5P_GROUP_CREATE);
    hid_t group = H5Gcreate2(file->id, name, H5P_DEFAULT, creation, H5P_DEFAULT);
    H5Pclose(creation);
    return group;
}

static hid_t space_of(const h5_field *f)
{
    hsize_t dims[3] = {f->dims[0], f->dims[1], f->dims[2]};
    return f->rank ? H5Screate_simple((int)f->rank, dims, NULL) : H5Screate(H5S_SCALAR);
}

kvc_status h5_add(h5_file *file, const h5_field *f, kvc_error *err)
{
    kvc_status status = KVC_OK;
    hid_t group = group_of(file, f->path), type = h5_type(f), space = space_of(f),
          creation = timeless(H5P_DATASET_CREATE);
    hid_t set = H5Dcreate2(group, strchr(f->path, '/') + 1, type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    herr_t written = set < 0 ? -1 : 0;
    if (set >= 0 && h5_field_count(f)) written = H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, f->data);
    if (written < 0) status = h5_fail(KVC_NO_MEMORY, file, f->path, err);
    if (status == KVC_OK) status = add_text_attribute(file, set, "about", f->about, err);
    if (set >= 0) H5Dclose(set);
    H5Pclose(creation);
    H5Sclose(space);
    H5Tclose(type);
    if (group >= 0) H5Gclose(group);
    return status;
}

/* H5Fget_file_image() of HDF5 1.10 clears the superblock's status flags but leaves their checksum; so the core
 * driver's own buffer is kept when it closes the file. Its size is the driver's, rounded up: the file's stands in the
 * superblock. */
static size_t image_bytes(const uint8_t *image)
{
    enum { END_OF_FILE = 28 }; /* superblock version 2 */
    uint64_t n = 0;
    for (int i = 8; i-- > 0;) n = n << 8 | image[END_OF_FILE + i];
    return (size_t)n;
}

kvc_status h5_finish(h5_file *file, void **bytes, size_t *n, kvc_error *err)
{
    herr_t closed = H5Fclose(file->id);
    file->id = -1;
    KVC_TRY_HDF5(closed, KVC_NO_MEMORY, file, "cannot finish an HDF5 image", err);
    *bytes = file->image;
    *n = image_bytes(file->image);
    file->image = NULL;
    h5_close(file);
    return KVC_OK;
}
