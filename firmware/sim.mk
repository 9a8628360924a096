# The level-1 simulator: the core with arch/sim (fibers) and sim/, as a library for the Python package emulator.sim and as a
# program of its own. docs/design/simulator.md
#
#   make sim             build/host/libmnlab_sim.so
#   make sim-asan        build/host/sim-asan/mnlab_sim under AddressSanitizer and UndefinedBehaviorSanitizer, and run some seeds
#   make sim-bench       seeds a second on one core
#
# Included by Makefile, after host.mk.

SIM_BUILD := $(HOST_BUILD)
SIM_SOURCES := $(sort $(filter-out $(HOST_EXCLUDED),$(wildcard core/*.c)) $(wildcard arch/sim/*.c sim/*.c))
SIM_MAIN := sim/main.c
SIM_CFLAGS := -std=c11 -O2 -g -fPIC -fvisibility=hidden -Wall -Wextra -Werror -Wshadow -Wcast-qual -Wpointer-arith -Wwrite-strings \
    -Wmissing-prototypes -Wstrict-prototypes -Wsign-compare -fno-omit-frame-pointer -fno-strict-aliasing \
    -I. -Iinclude -Iarch/sim/include -Iarch/host/include
SIM_FLAGS_sim := -flto
SIM_FLAGS_sim-asan := -fsanitize=address,undefined -fno-sanitize-recover=all
SIM_SEEDS ?= 2000

.PHONY: sim sim-asan sim-bench

sim: $(SIM_BUILD)/libmnlab_sim.so

# sim_rules(variant): objects and the program of one setting.
define sim_rules
$(SIM_BUILD)/$(1)/%.c.o: %.c sim.mk
	@echo 'CC   $(1) $$<'
	@$$(call compile,$(HOST_CC) $(SIM_CFLAGS) $(SIM_FLAGS_$(1)))

$(SIM_BUILD)/$(1)/mnlab_sim: $(SIM_SOURCES:%=$(SIM_BUILD)/$(1)/%.o)
	@echo 'LINK $$@'
	@$(HOST_CC) -fuse-ld=lld $(SIM_FLAGS_$(1)) $$^ -o $$@.$$$$$$$$ && mv -f $$@.$$$$$$$$ $$@

-include $(patsubst %,$(SIM_BUILD)/$(1)/%.d,$(SIM_SOURCES))
endef
$(foreach variant,sim sim-asan,$(eval $(call sim_rules,$(variant))))

$(SIM_BUILD)/libmnlab_sim.so: $(patsubst %,$(SIM_BUILD)/sim/%.o,$(filter-out $(SIM_MAIN),$(SIM_SOURCES)))
	@echo 'LINK $@'
	@$(HOST_CC) -shared -fuse-ld=lld -flto $^ -o $@.$$$$ && mv -f $@.$$$$ $@

sim-asan: $(SIM_BUILD)/sim-asan/mnlab_sim
	$< $(SIM_SEEDS)

sim-bench: $(SIM_BUILD)/sim/mnlab_sim
	$< $(SIM_SEEDS)
