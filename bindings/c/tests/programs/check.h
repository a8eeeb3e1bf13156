/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the test programs share: a check that says where it failed, with the library's own words. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tare.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* A call that must succeed. */
#define OK(call)                                                                                   \
    do {                                                                                           \
        tare_error *error_ = (call);                                                               \
        if (error_) {                                                                              \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call,                          \
                    tare_error_message(error_));                                                   \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* A call that must fail with this kind; the error is looked at and freed. */
#define FAILS(wanted, call)                                                                        \
    do {                                                                                           \
        tare_error *error_ = (call);                                                               \
        if (!error_ || tare_error_kind(error_) != (wanted)) {                                      \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call,                          \
                    error_ ? tare_error_message(error_) : "succeeded");                            \
            exit(1);                                                                               \
        }                                                                                          \
        CHECK(strlen(tare_error_message(error_)) > 10);                                            \
        CHECK(strlen(tare_error_step(error_)) > 0);                                                \
        CHECK(!strchr(tare_error_message(error_), '\n'));                                          \
        tare_error_free(error_);                                                                   \
    } while (0)

#endif
