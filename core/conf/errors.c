/* Collected error lines and the search for the name that was meant. Owns the text of a conf_errors. Calls base/ only.
 * Loop thread. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "conf/conf_int.h"

void conf_error(struct conf_errors *errs, const char *file, unsigned line, const char *fmt, ...)
{
    char msg[1024];
    va_list args;
    if (errs->n++ >= CONF_ERRORS_MAX) return;
    va_start(args, fmt);
    vsnprintf(msg, sizeof msg, fmt, args);
    va_end(args);
    for (char *p = msg; *p; p++)                           /* names come from the file: one error stays one line */
        if ((unsigned char)*p < ' ') *p = '?';
    if (file && line) buf_printf(&errs->text, "%s:%u: ", file, line);
    else if (file) buf_printf(&errs->text, "%s: ", file);
    buf_printf(&errs->text, "%s\n", msg);
    if (errs->n == CONF_ERRORS_MAX) buf_puts(&errs->text, "too many errors, the rest is not shown\n");
}

void conf_errors_free(struct conf_errors *errs)
{
    buf_free(&errs->text);
    errs->n = 0;
}

void conf_no_memory(struct conf_errors *errs, const char *file)
{
    conf_error(errs, file, 0, "out of memory");
}

void nearest_try(struct nearest *n, struct mintd_str candidate)
{
    size_t longer = candidate.n > n->wanted.n ? candidate.n : n->wanted.n;
    size_t limit = longer < 4 ? 1 : longer < 24 ? 1 + longer / 4 : 6;
    unsigned distance = str_distance(n->wanted, candidate);
    if (distance > limit || distance >= longer || (n->best.n && distance >= n->distance)) return;
    n->best = candidate;
    n->distance = distance;
}

const char *nearest_hint(const struct nearest *n, char *buf, size_t size)
{
    if (!n->best.n) return "";
    snprintf(buf, size, ", did you mean \"" STR_FMT "\"?", STR_ARG(n->best));
    return buf;
}
