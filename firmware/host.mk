# The core as a library on the machine you sit at (arch/host), its unit tests and its micro benchmark.
#
#   make host            build/host/libmnlab_core.so
#   make host-test       unit tests
#   make host-test-asan  the same under AddressSanitizer and UndefinedBehaviorSanitizer
#   make host-test-tsan  the same under ThreadSanitizer
#   make host-fuzz       every target of tests/fuzz for FUZZ_SECONDS on its corpus (clang only)
#   make host-fuzz-replay  every target on its kept corpus, and no more; host-fuzz-merge adds to that corpus
#   make host-bench      messages a second through two hosts in one thread, without a link
#
# Included by Makefile, which defines compile(). A file in tests/unit/ is part of the tests; a file in core/,
# phys/ or servers/ is part of the library unless it is the guest's own.

HOST_CC ?= clang
HOST_BUILD := build/host
HOST_TEST_ARGUMENTS ?=

# What the machine layer of a guest brings, and this machine's libc or arch/host brings here.
HOST_EXCLUDED := core/sched.c core/boot_page.c core/sched_owned.c core/boot_count.c core/panic.c core/console.c core/string.c \
    core/kernel_main.c
# Servers that drive a device: they need a guest's.
HOST_EXCLUDED += $(wildcard servers/raw_ring/*.c servers/hostile/*.c)
# But for the logic of one, which needs none.
HOST_TEST_LOGIC := servers/mnl_ring/handshake.c
HOST_EXCLUDED += $(foreach server,$(LOADABLE_ONLY),$(SOURCES_$(server)))
HOST_SOURCES := $(sort $(filter-out $(HOST_EXCLUDED),$(wildcard core/*.c servers/*/*.c)) $(wildcard arch/host/*.c))
# Drivers whose hardware the unit tests play (tests/unit/fake_*.c), and the memory code under them.
HOST_TEST_DRIVERS := phys/ivshmem/ring.c phys/ivshmem/cable.c phys/ivshmem/ivshmem.c phys/stream/frame_stream.c \
    drivers/virtio/virtqueue.c $(HOST_TEST_LOGIC)
HOST_TEST_SOURCES := $(sort $(wildcard tests/unit/*.c) $(HOST_TEST_DRIVERS))
comma := ,
HOST_BENCH_SOURCES := tests/bench/messages.c

HOST_CFLAGS := -std=c11 -O2 -g -fPIC -Wall -Wextra -Werror -Wshadow -Wcast-qual -Wpointer-arith -Wwrite-strings \
    -Wmissing-prototypes -Wstrict-prototypes -Wsign-compare -fno-omit-frame-pointer -fno-strict-aliasing \
    -I. -Iinclude -Iarch/host/include
HOST_LDFLAGS := -pthread
# Calls of the heap go through tests/unit/test_locking.c.
HOST_UNIT_LDFLAGS := $(foreach name,heap_allocate heap_allocate_kind heap_free heap_free_list,-Wl$(comma)--wrap=$(name))

HOST_FLAGS_plain :=
HOST_FLAGS_asan := -fsanitize=address,undefined -fno-sanitize-recover=all
HOST_FLAGS_tsan := -fsanitize=thread

.PHONY: host host-test host-test-asan host-test-tsan host-bench

host: $(HOST_BUILD)/libmnlab_core.so

$(HOST_BUILD)/libmnlab_core.so: $(HOST_SOURCES:%=$(HOST_BUILD)/plain/%.o)
	@echo 'LINK $@'
	@$(HOST_CC) -shared $(HOST_LDFLAGS) $^ -o $@.$$$$ && mv -f $@.$$$$ $@

# host_rules(variant): objects and the test program of one sanitizer setting.
define host_rules
$(HOST_BUILD)/$(1)/%.c.o: %.c host.mk
	@echo 'CC   $(1) $$<'
	@$$(call compile,$(HOST_CC) $(HOST_CFLAGS) $(HOST_FLAGS_$(1)))

$(HOST_BUILD)/$(1)/unit: $(HOST_SOURCES:%=$(HOST_BUILD)/$(1)/%.o) $(HOST_TEST_SOURCES:%=$(HOST_BUILD)/$(1)/%.o)
	@echo 'LINK $$@'
	@$(HOST_CC) $(HOST_LDFLAGS) $(HOST_UNIT_LDFLAGS) $(HOST_FLAGS_$(1)) $$^ -o $$@.$$$$$$$$ && mv -f $$@.$$$$$$$$ $$@

$(HOST_BUILD)/$(1)/bench: $(HOST_SOURCES:%=$(HOST_BUILD)/$(1)/%.o) $(HOST_BENCH_SOURCES:%=$(HOST_BUILD)/$(1)/%.o)
	@echo 'LINK $$@'
	@$(HOST_CC) $(HOST_LDFLAGS) $(HOST_FLAGS_$(1)) $$^ -o $$@.$$$$$$$$ && mv -f $$@.$$$$$$$$ $$@

-include $(patsubst %,$(HOST_BUILD)/$(1)/%.d,$(HOST_SOURCES) $(HOST_TEST_SOURCES) $(HOST_BENCH_SOURCES))
endef
$(foreach variant,plain asan tsan,$(eval $(call host_rules,$(variant))))

host-test: $(HOST_BUILD)/plain/unit
	$< $(HOST_TEST_ARGUMENTS)

host-test-asan: $(HOST_BUILD)/asan/unit
	$< $(HOST_TEST_ARGUMENTS)

host-test-tsan: $(HOST_BUILD)/tsan/unit
	$< $(HOST_TEST_ARGUMENTS)

host-bench: $(HOST_BUILD)/plain/bench
	$<

# A target tests/fuzz/<name>.c has its corpus in tests/fuzz/corpus/<name>/; what a run finds stays in build/. The core is compiled once for all.
FUZZ_SECONDS ?= 20
FUZZ_TARGETS := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c))
FUZZ_SANITIZERS := address,undefined -fno-sanitize-recover=all
FUZZ_CORE := $(HOST_SOURCES:%=$(HOST_BUILD)/fuzz/%.o)

$(HOST_BUILD)/fuzz/%.c.o: %.c host.mk
	@echo 'CC   fuzz $<'
	@$(call compile,clang $(HOST_CFLAGS) -fsanitize=fuzzer-no-link,$(FUZZ_SANITIZERS))

$(FUZZ_TARGETS:%=$(HOST_BUILD)/fuzz/bin/%): $(HOST_BUILD)/fuzz/bin/%: $(HOST_BUILD)/fuzz/tests/fuzz/%.c.o $(FUZZ_CORE)
	@mkdir -p $(@D)
	@echo 'LINK $@'
	@clang $(HOST_LDFLAGS) -fsanitize=fuzzer,$(FUZZ_SANITIZERS) $^ -o $@.$$$$ && mv -f $@.$$$$ $@

-include $(patsubst %,$(HOST_BUILD)/fuzz/%.d,$(HOST_SOURCES) $(FUZZ_TARGETS:%=tests/fuzz/%.c))

.PHONY: host-fuzz host-fuzz-replay $(FUZZ_TARGETS:%=host-fuzz-%) $(FUZZ_TARGETS:%=host-fuzz-replay-%) host-fuzz-merge
.SECONDARY: $(FUZZ_TARGETS:%=$(HOST_BUILD)/fuzz/tests/fuzz/%.c.o)
host-fuzz: $(FUZZ_TARGETS:%=host-fuzz-%)
host-fuzz-replay: $(FUZZ_TARGETS:%=host-fuzz-replay-%)

$(FUZZ_TARGETS:%=host-fuzz-%): host-fuzz-%: $(HOST_BUILD)/fuzz/bin/%
	@mkdir -p $(HOST_BUILD)/fuzz/corpus/$*
	$< -max_total_time=$(FUZZ_SECONDS) -max_len=1024 -timeout=5 -print_final_stats=0 \
	    -artifact_prefix=$(HOST_BUILD)/fuzz/ $(HOST_BUILD)/fuzz/corpus/$* tests/fuzz/corpus/$*

$(FUZZ_TARGETS:%=host-fuzz-replay-%): host-fuzz-replay-%: $(HOST_BUILD)/fuzz/bin/%
	@$< -runs=0 -timeout=20 -artifact_prefix=$(HOST_BUILD)/fuzz/ tests/fuzz/corpus/$* >$<.log 2>&1 || { cat $<.log; exit 1; }
	@echo 'FUZZ $* holds for $(words $(wildcard tests/fuzz/corpus/$*/*)) kept inputs'

# What fuzzing found worth keeping, into the kept corpus: the fewest inputs that reach as much.
host-fuzz-merge: $(FUZZ_TARGETS:%=$(HOST_BUILD)/fuzz/bin/%)
	@for target in $(FUZZ_TARGETS); do \
	    $(HOST_BUILD)/fuzz/bin/$$target -merge=1 -set_cover_merge=1 -use_counters=0 -max_len=1024 -verbosity=0 tests/fuzz/corpus/$$target $(HOST_BUILD)/fuzz/corpus/$$target || exit 1; \
	done
