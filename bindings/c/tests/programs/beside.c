/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * beside STORE ROOT: a program with its own libzstd and another library in
 * Rust. Neither library uses a name of the other's: the program's zstd
 * functions end the program if libtare calls them.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

/* beside.rs */
uint64_t beside_sum(uint64_t most);

unsigned ZSTD_versionNumber(void);
#define OWN(name)                                                                                  \
    void name(void);                                                                               \
    void name(void) { CHECK(!"the library called " #name); }
OWN(ZSTD_createDCtx)
OWN(ZSTD_createDStream)
OWN(ZSTD_freeDCtx)
OWN(ZSTD_freeDStream)
OWN(ZSTD_initDStream)
OWN(ZSTD_DCtx_setParameter)
OWN(ZSTD_DCtx_reset)
OWN(ZSTD_DCtx_loadDictionary)
OWN(ZSTD_decompressStream)
OWN(ZSTD_isError)
OWN(ZSTD_getErrorName)
OWN(ZSTD_DStreamInSize)
OWN(ZSTD_DStreamOutSize)
OWN(ZSTD_trace_decompress_begin)
OWN(ZSTD_trace_decompress_end)
unsigned ZSTD_versionNumber(void) { return 7; }

/* A tar archive without entries, 1024 zeros, as a frame of zstd. */
static const unsigned char layer[] = {0x28, 0xb5, 0x2f, 0xfd, 0x60, 0x00, 0x03, 0x03, 0x20, 0x00, 0x00};

int main(int argc, char **argv) {
    CHECK(argc == 3);
    char into[] = "/tmp/tare-beside.XXXXXX";
    int fd = memfd_create("layer", MFD_CLOEXEC);
    tare_bytes *report;
    CHECK(fd >= 0 && mkdtemp(into));
    CHECK(write(fd, layer, sizeof layer) == sizeof layer && lseek(fd, 0, SEEK_SET) == 0);
    OK(tare_unpack_layer(fd, into, 0, &report));
    CHECK(strstr(tare_bytes_data(report), "1024"));
    tare_bytes_free(report);
    CHECK(!rmdir(into));
    close(fd);
    CHECK(ZSTD_versionNumber() == 7);
    CHECK(beside_sum(100) == 5050);
    puts("beside: ok");
    return argv[0] == NULL;
}
