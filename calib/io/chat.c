/* chat.c - chats as text. The special tokens of a vocabulary tell its template; what the model's own template adds
 * beyond that (a default system message, dates, tools) is left to whoever writes the messages. */
#include "prompts.h"

#include <stdlib.h>
#include <string.h>
#include "tokenizer_text.h"

typedef struct chat_style {
    const char *mark; /* the token that implies it; NULL: the fallback */
    const char *before_role, *after_role, *after_content;
    bool trim; /* the template strips each message */
} chat_style;

static const chat_style styles[] = {
    {"<|im_start|>", "<|im_start|>", "\n", "<|im_end|>\n", false},
    {"<|start_header_id|>", "<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>", true},
    {NULL, "", ": ", "\n", false},
};

static const chat_style *style_of(const tokenizer *t)
{
    const chat_style *style = styles;
    while (style->mark && (!t || tokenizer_find(t, style->mark) < 0)) style++;
    return style;
}

static bool put(text_buffer *out, const char *text)
{
    return text_append(out, text, strlen(text));
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool put_content(text_buffer *out, const char *text, bool trim)
{
    size_t n = strlen(text);
    while (trim && n && is_space(text[n - 1])) n--;
    while (trim && n && is_space(*text)) text++, n--;
    return text_append(out, text, n);
}

static bool put_message(text_buffer *out, const chat_style *style, const char *role, const char *content)
{
    return put(out, style->before_role) && put(out, role) && put(out, style->after_role) &&
           put_content(out, content, style->trim) && put(out, style->after_content);
}

char *chat_format(const tokenizer *t, const char *const *roles, const char *const *contents, size_t n,
                  bool open_reply)
{
    const chat_style *style = style_of(t);
    text_buffer out = {0};
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++) ok = put_message(&out, style, roles[i], contents[i]);
    /* a model continues "assistant:" with a space of its own */
    if (ok && open_reply)
        ok = put(&out, style->before_role) && put(&out, "assistant") &&
             put(&out, style->mark ? style->after_role : ":");
    if (ok) ok = text_append(&out, "", 1);
    if (ok) return out.bytes;
    free(out.bytes);
    return NULL;
}
