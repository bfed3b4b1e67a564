/* cmd_bench.c - kvcalib bench --config cfg.bin [--device cuda --kernels DIR] [--load 16x32768]...: how long attend
 * and append take, for each distinct layer, beside the speed at which memory can be read and beside an fp16 cache,
 * all in one run. */
#include "backend.h"
#include "bench.h"
#include "command.h"
#include "console.h"
#include "inspect_json.h"
#include <stdlib.h>
#include <string.h>

typedef struct bench_row {
    bench_times times;
    double bytes; /* that one attend has to read */
} bench_row;

typedef struct bench_run {
    const bench_device *device;
    void *state;
    bench_layers layers;
    double read_rate; /* bytes a second */
    json_t *loads;    /* with --json */
    int spec_width;   /* of the longest spec */
} bench_run;

#define MOST_SEQUENCES 65536u
#define MOST_TOKENS (1u << 30)

/* "16x32768": sequences times tokens of each. */
static kvc_status parse_load(bench_load *out, const char *text, kvc_error *err)
{
    size_t digits = strspn(text, "0123456789");
    const char *tokens = text + digits + 1;
    bool form = digits && text[digits] == 'x' && *tokens && tokens[strspn(tokens, "0123456789")] == 0;
    if (!form) return kvc_fail(err, KVC_INVALID, "--load: \"%s\" is not SEQUENCESxTOKENS, like 16x32768", text);
    unsigned long long batch = strtoull(text, NULL, 10), context = strtoull(tokens, NULL, 10);
    if (batch < 1 || batch > MOST_SEQUENCES || context < 1 || context > MOST_TOKENS)
        return kvc_fail(err, KVC_INVALID, "--load: %s is out of range (1x1 to %ux%u)", text, MOST_SEQUENCES,
                        MOST_TOKENS);
    *out = (bench_load){(uint32_t)batch, (uint32_t)context};
    return KVC_OK;
}

/* ---- output ---- fp16: NULL where there is nothing to compare with */

static double rate(const bench_row *row)
{
    return row->bytes / row->times.attend;
}

static void print_row(const bench_run *run, const bench_layer *layer, const bench_row *row, const bench_row *fp16)
{
    char n_layers[16] = "-", times_fp16[32] = "-";
    if (layer->n_layers) snprintf(n_layers, sizeof n_layers, "%u", layer->n_layers);
    if (fp16) snprintf(times_fp16, sizeof times_fp16, "%.2f", fp16->times.attend / row->times.attend);
    printf("  %-*s %-*s %6s %11.1f %8.2f %8.1f %% %8s %11.2f\n", run->spec_width, layer->key, run->spec_width,
           layer->value, n_layers, row->times.attend * 1e6, rate(row) * 1e-9, 100 * rate(row) / run->read_rate,
           times_fp16, row->times.append * 1e6);
}

static json_t *row_json(const bench_run *run, const bench_row *row)
{
    return json_pack("{s:f,s:f,s:f,s:f,s:f}", "attend_us", row->times.attend * 1e6, "append_us",
                     row->times.append * 1e6, "bytes", row->bytes, "bytes_per_second", rate(row), "read_fraction",
                     rate(row) / run->read_rate);
}

static json_t *layer_json(const bench_run *run, const bench_layer *layer, const bench_row *row, const bench_row *fp16)
{
    json_t *o = row_json(run, row);
    json_object_set_new(o, "key", json_string(layer->key));
    json_object_set_new(o, "value", json_string(layer->value));
    json_object_set_new(o, "layers", json_integer(layer->n_layers));
    json_object_set_new(o, "times_fp16", fp16 ? json_real(fp16->times.attend / row->times.attend) : json_null());
    return o;
}

static json_t *load_json(const bench_run *run, bench_load load, json_t *pairs, double all, const bench_row *fp16,
                         double all_fp16)
{
    return json_pack("{s:I,s:I,s:o,s:o,s:f,s:o}", "batch", (json_int_t)load.batch, "context",
                     (json_int_t)load.context, "pairs", pairs, "fp16", fp16 ? row_json(run, fp16) : json_null(),
                     "attend_us", all * 1e6, "times_fp16", fp16 ? json_real(all_fp16 / all) : json_null());
}

static kvc_status show(bench_run *run, bench_load load, const bench_row *rows, const bench_row *fp16, kvc_error *err)
{
    const bench_layers *l = &run->layers;
    double all = 0, all_fp16 = 0;
    json_t *list = json_array();
    for (uint32_t i = 0; i < l->n; i++) {
        all += rows[i].times.attend * l->items[i].n_layers;
        all_fp16 += (fp16 ? fp16->times.attend : 0) * l->items[i].n_layers;
        json_array_append_new(list, layer_json(run, &l->items[i], &rows[i], fp16));
    }
    if (run->loads) {
        json_array_append_new(run->loads, load_json(run, load, list, all, fp16, all_fp16));
        return KVC_OK;
    }
    json_decref(list);
    printf("\n%u x %u tokens\n  %-*s %-*s %6s %11s %8s %10s %8s %11s\n", load.batch, load.context, run->spec_width,
           "keys", run->spec_width, "values", "layers", "attend us", "GB/s", "of read", "x fp16", "append us");
    for (uint32_t i = 0; i < l->n; i++) print_row(run, &l->items[i], &rows[i], fp16);
    if (fp16) print_row(run, &l->fp16, fp16, fp16);
    printf("  all layers: %.1f us", all * 1e6);
    if (fp16) printf(", %.2f x fp16", all_fp16 / all);
    putchar('\n');
    return console_flush(err);
}

static void measure_specs(bench_run *run)
{
    size_t most = strlen("values");
    for (uint32_t i = 0; i < run->layers.n; i++) {
        size_t key = strlen(run->layers.items[i].key), value = strlen(run->layers.items[i].value);
        most = key > most ? key : most;
        most = value > most ? value : most;
    }
    run->spec_width = (int)most;
}

/* ---- work ---- */

static kvc_status time_layer(bench_run *run, const settings *s, const bench_layer *layer, bench_load load,
                             bench_row *out, kvc_error *err)
{
    kvc_error why;
    console_detail("bench: %u x %u tokens, %s / %s", load.batch, load.context, layer->key, layer->value);
    kvc_status status =
        run->device->time(run->state, layer, load, (uint32_t)s->repeats, console_job(), &out->times, &why);
    out->bytes = (double)kvc_config_bytes(layer->image.config, load.context) * load.batch;
    if (status == KVC_OK || status == KVC_INTERRUPTED) return status;
    return kvc_fail(err, status, "%u x %u tokens, layer %u: %s", load.batch, load.context, layer->first, why.message);
}

static kvc_status time_load(bench_run *run, const settings *s, const char *text, kvc_error *err)
{
    bench_load load;
    bench_row fp16;
    kvc_error why;
    KVC_TRY(parse_load(&load, text, err));
    bench_row *rows = calloc(run->layers.n, sizeof *rows);
    if (!rows) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for times");
    kvc_status status = time_layer(run, s, &run->layers.fp16, load, &fp16, &why);
    bool has_fp16 = status != KVC_UNSUPPORTED;
    if (!has_fp16) console_note("nothing to compare with: %s", why.message);
    status = has_fp16 && status != KVC_OK ? kvc_fail(err, status, "%s", why.message) : KVC_OK;
    for (uint32_t i = 0; status == KVC_OK && i < run->layers.n; i++)
        status = time_layer(run, s, &run->layers.items[i], load, &rows[i], err);
    if (status == KVC_OK) status = show(run, load, rows, has_fp16 ? &fp16 : NULL, err);
    free(rows);
    return status;
}

static kvc_status print_json(const bench_run *run, const kvc_config *config, const settings *s, kvc_error *err)
{
    json_t *o = json_pack("{s:s,s:o,s:I,s:f,s:O}", "device", run->device->name, "model",
                          text_json(kvc_config_model(config)->name), "repeats", (json_int_t)s->repeats,
                          "read_bytes_per_second", run->read_rate, "loads", run->loads);
    if (!o) return kvc_fail(err, KVC_NO_MEMORY, "out of memory");
    json_dumpf(o, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(o);
    return KVC_OK;
}

/* Which device, and what of the options belongs to it. */
static kvc_status choose_device(bench_run *run, bench_place *place, const settings *s, kvc_error *err)
{
    backend_device d;
    KVC_TRY(backend_parse_device(&d, s->device, err));
    if (d.fast) return kvc_fail(err, KVC_INVALID, "bench: --device %s: \",fast\" has no meaning here", s->device);
    if (d.cuda < 0 && s->kernels)
        return kvc_fail(err, KVC_INVALID, "bench: --kernels has no meaning without --device cuda");
    if (d.cuda >= 0 && !s->kernels)
        return kvc_fail(err, KVC_INVALID,
                        "bench: --device %s: say with --kernels where `compile --kernels` has put them", s->device);
    run->device = d.cuda < 0 ? &bench_cpu : &bench_cuda;
    place->ordinal = d.cuda;
    place->kernels = s->kernels;
    return KVC_OK;
}

static kvc_status bench(bench_run *run, const kvc_config *config, const bench_place *place, const settings *s,
                        kvc_error *err)
{
    const kvc_model_info *m = kvc_config_model(config);
    bench_load unused;
    for (size_t i = 0; i < s->loads.n; i++) KVC_TRY(parse_load(&unused, s->loads.items[i], err));
    KVC_TRY(bench_layers_new(&run->layers, config, err));
    measure_specs(run);
    KVC_TRY(run->device->open(&run->state, place, err));
    KVC_TRY(run->device->read_rate(run->state, (uint32_t)s->repeats, &run->read_rate, err));
    if (s->json)
        run->loads = json_array();
    else
        printf("%s: %u query, %u KV heads of %u; %s, medians of %u; streaming read %.2f GB/s\n", m->name,
               m->n_query_heads, m->n_kv_heads, m->head_dim, run->device->text(run->state), (uint32_t)s->repeats,
               run->read_rate * 1e-9);
    for (size_t i = 0; i < s->loads.n; i++) KVC_TRY(time_load(run, s, s->loads.items[i], err));
    return s->json ? print_json(run, config, s, err) : KVC_OK;
}

kvc_status command_bench(settings *s, kvc_error *err)
{
    bench_run run = {0};
    bench_place place;
    config_image image;
    if (!s->config) return kvc_fail(err, KVC_INVALID, "bench: say with --config what to time");
    KVC_TRY(choose_device(&run, &place, s, err));
    KVC_TRY(config_image_read(&image, s->config, err));
    place.config = image.config;
    kvc_status status = bench(&run, image.config, &place, s, err);
    run.device->close(run.state);
    json_decref(run.loads);
    bench_layers_free(&run.layers);
    config_image_free(&image);
    return status;
}
