/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * setuid PATH|none: a set-user-id program whose environment names stores. The
 * environment does not count: the default is root's own store, and other users
 * have no default.
 */
#define _GNU_SOURCE
#include <sys/auxv.h>
#include <unistd.h>

#include "check.h"

int main(int argc, char **argv) {
    CHECK(argc == 2);
    CHECK(getenv("TARE_STORE") && getenv("HOME") && getenv("XDG_DATA_HOME"));
    /* Without this, the test would prove nothing. */
    CHECK(getuid() != geteuid() && getauxval(AT_SECURE));
    if (!strcmp(argv[1], "none")) {
        tare_error *error = tare_store_open(NULL, &store);
        CHECK(error && tare_error_kind(error) == TARE_KIND_NOT_FOUND);
        CHECK(strstr(tare_error_message(error), "set-user-id") && tare_error_cure(error));
        tare_error_free(error);
    } else {
        OK(tare_store_open(NULL, &store));
        CHECK(!strcmp(tare_store_path(store), argv[1]));
        tare_store_free(store);
    }
    return done("setuid");
}
