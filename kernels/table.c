/* One instruction set's table of kernels. */
#include "kernels.h"

#define TEXT_(text) #text
#define TEXT(text) TEXT_(text)

extern const struct kernels KERNEL(kernels);

const struct kernels KERNEL(kernels) = {.isa = TEXT(KERNEL_ISA),
                                        .product = product,
#define ENTRY(name, parameters) .name = KERNEL(name),
                                        KERNEL_LIST(ENTRY)
#undef ENTRY
};
