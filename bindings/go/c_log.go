// SPDX-License-Identifier: MIT OR Apache-2.0

package tare

// #include <tare.h>
//
// extern void tareGoLog(uint32_t level, char *text);
//
// static void tare_go_log(void *data, uint32_t level, const char *text) {
//     (void)data;
//     tareGoLog(level, (char *)text);
// }
//
// static void tare_go_set_log(uint32_t level) { tare_set_log(level ? tare_go_log : NULL, NULL, level); }
import "C"

// setLog has tareGoLog called up to a level of tare.h, 0 for never.
func setLog(level uint32) { C.tare_go_set_log(C.uint32_t(level)) }
