// SPDX-License-Identifier: Apache-2.0
#include "base/random.h"

#include "base/status.h"

#include <errno.h>
#include <sys/random.h>

void random_bytes(void *bytes, size_t n)
{
    for (size_t got = 0; got < n;) {
        ssize_t more = getrandom((char *)bytes + got, n - got, 0);
        ASSERT(more > 0 || errno == EINTR);
        if (more > 0) got += (size_t)more;
    }
}
