/* Text templates with {{field}} placeholders, for metadata JSON and collection names. Pure. Any thread. */
#ifndef PIPE_TEMPLATE_H
#define PIPE_TEMPLATE_H
#include "base/str.h"

struct template;
/* 0; -EINVAL and a static text when braces do not match or a name is empty or longer than 64. */
int template_new(struct mintd_str text, struct template **ret, const char **ret_why);
struct template *template_free(struct template *);
/* lookup returns 0 and a value, or -ENOENT: then template_fill returns -ENOENT and *ret_missing names the field. json: values are
 * escaped to stand inside JSON strings. */
typedef int template_lookup(void *arg, struct mintd_str field, struct mintd_str *ret);
int template_fill(const struct template *, bool json, template_lookup *, void *arg, struct buf *, struct mintd_str *ret_missing);
#endif
