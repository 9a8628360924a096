#pragma once
#include <stdint.h>
extern volatile uint64_t dbg_sum[8], dbg_n[8], dbg_last[8];
static inline uint64_t dbg_tsc(void){uint32_t a,d;__asm__ volatile("rdtsc":"=a"(a),"=d"(d));return (uint64_t)d<<32|a;}
static inline void dbg_mark(int i){dbg_last[i]=dbg_tsc();}
static inline void dbg_span(int slot,int from){uint64_t t=dbg_tsc();uint64_t d=t-dbg_last[from];if(d<100000){dbg_sum[slot]+=d;dbg_n[slot]++;}}
