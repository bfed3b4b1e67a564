/* front_file.c - see front_file.h. */
#include "front_file.h"
#include "json.h"
#include "output.h"
#include <stdlib.h>
#include <string.h>

enum { FRONT_POINTS = 200 };

static char *front_text(const solution *s)
{
    json_t *list = solution_front_json(s, FRONT_POINTS, false);
    char *text = list ? json_canonical(list) : NULL;
    json_decref(list);
    return text;
}

kvc_status front_file_write(const solution *s, const char *path, kvc_error *err)
{
    size_t n = strlen(path);
    bool csv = n > 4 && strcmp(path + n - 4, ".csv") == 0;
    char *text = csv ? solution_front_csv(s, FRONT_POINTS) : front_text(s);
    kvc_status status =
        text ? output_write(path, text, strlen(text), err) : kvc_fail(err, KVC_NO_MEMORY, "out of memory");
    free(text);
    return status;
}
