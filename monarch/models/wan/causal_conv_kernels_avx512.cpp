#define MONARCH_ISA avx512
#include "monarch/models/wan/causal_conv_kernels.inc"
