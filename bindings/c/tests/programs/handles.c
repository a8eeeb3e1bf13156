/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * handles STORE TAR: calls that need no helper process, for tools that see
 * every access to memory but lack the newest system calls: a store, a layer,
 * texts, errors, and handles of every wrong kind.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

int main(int argc, char **argv) {
    CHECK(argc == 3);
    tare_store *other = NULL;
    OK(tare_store_open(argv[1], &store));
    CHECK(!strcmp(tare_store_path(store), argv[1]));
    tare_bytes *bytes = NULL;
    OK(tare_store_list(store, &bytes));
    CHECK(!strcmp(tare_bytes_data(bytes), "[]"));

    /* A handle of another kind, or a freed handle, is an error. */
    CHECK(tare_bytes_len((tare_bytes *)(void *)store) == 0);
    CHECK(tare_store_path((tare_store *)(void *)bytes) == NULL);
    tare_bytes_free(bytes);
    CHECK(tare_bytes_len(bytes) == 0);
    tare_bytes_free(bytes);
    char anything[64] = {0};
    FAILS(TARE_KIND_INVALID, tare_store_list((tare_store *)(void *)anything, &bytes));
    FAILS(TARE_KIND_INVALID, tare_store_list(NULL, &bytes));
    FAILS(TARE_KIND_INVALID, tare_store_list(store, NULL));

    const char *host = "{\"image\": \"host\", \"limits\": {\"memory\": \"1g\"}}";
    OK(tare_spec_check(host, strlen(host), &bytes));
    /* Every key with its final value, which is a spec again. */
    CHECK(strstr(tare_bytes_data(bytes), "\"memory\"") && strstr(tare_bytes_data(bytes), "\"network\""));
    OK(tare_spec_check(tare_bytes_data(bytes), tare_bytes_len(bytes), NULL));
    tare_bytes_free(bytes);
    tare_error *error = tare_spec_check("{\"imgae\": 1}", 12, NULL);
    CHECK(error && strstr(tare_error_cure(error), "image"));
    CHECK(tare_error_kind(error) == TARE_KIND_INVALID && tare_error_errno(error) == 0);
    tare_error_free(error);
    tare_error_free(error);
    CHECK(tare_error_kind(error) == 0);

    fails(ENOENT, tare_store_open("/proc/nothing/of/the/kind", &other));
    CHECK(!other);
    tare_image *image = NULL;
    FAILS(TARE_KIND_NOT_FOUND, tare_store_image(store, "no-such-image", NULL, &image));
    FAILS(TARE_KIND_INVALID, tare_store_image(store, "no such image\n", NULL, &image));
    CHECK(!image);

    char dir[4096];
    snprintf(dir, sizeof dir, "%s/unpacked", argv[1]);
    int layer = open(argv[2], O_RDONLY | O_CLOEXEC);
    CHECK(layer >= 0);
    CHECK(mkdir(dir, 0755) == 0);
    OK(tare_unpack_layer(layer, dir, 0, &bytes));
    CHECK(strstr(tare_bytes_data(bytes), "sha256:"));
    tare_bytes_free(bytes);
    error = tare_unpack_layer(-1, dir, 0, &bytes);
    CHECK(error && (tare_error_kind(error) == TARE_KIND_INVALID || tare_error_errno(error) == EBADF));
    tare_error_free(error);
    CHECK(close(layer) == 0);

    tare_collected collected = TARE_COLLECTED_INIT;
    OK(tare_store_gc(store, &collected));
    CHECK(collected.blobs == 0);
    tare_store_free(store);
    return done("handles");
}
