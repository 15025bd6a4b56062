# craftd. `make help` lists the targets. GNU make.
#
# Objects live in build/<flavour>/; a flavour is a set of flags:
#   release  optimised, hardened, static, assertions on
#   check    AddressSanitizer and UndefinedBehaviorSanitizer, -Werror
#   fuzz     clang's libFuzzer with both sanitizers
#   cover    clang's source coverage

ifeq ($(origin CC),default)
CC := gcc
endif
CLANG ?= clang
BUILD := build
comma := ,
V := $(shell sed -n 's/^.define CRAFTD_VERSION "\(.*\)"/\1/p' src/config.h)

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion \
  -Wcast-qual -Wcast-align -Wpointer-arith -Wwrite-strings -Wundef -Wvla \
  -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition \
  -Wswitch-enum -Wimplicit-fallthrough -Wnull-dereference \
  -Wdouble-promotion -Wdate-time
ifneq ($(findstring clang,$(CC)),clang)
WARN += -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wjump-misses-init
endif
ifdef WERROR
WARN += -Werror
endif

# What makes the headers of each system declare what it has beyond POSIX; FreeBSD's
# do, unless they are asked for POSIX.
FEATURES_Linux := -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE
FEATURES_Darwin := -D_DARWIN_C_SOURCE
FEATURES_NetBSD := -D_NETBSD_SOURCE
FEATURES_OpenBSD := -D_BSD_SOURCE
LANGUAGE := -std=c11 $(FEATURES_$(shell uname -s)) -Isrc \
  -D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64 \
  -ffile-prefix-map=$(CURDIR)=.
HARDEN := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong \
  -fstack-clash-protection -fPIE
ifeq ($(shell uname -m),x86_64)
HARDEN += -fcf-protection=full
endif
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all \
  -fno-omit-frame-pointer
LIBS := -lsqlite3 -lhttp_parser -lm

# ---- the rooms, from scripts/rooms ----

# ROWS is "base=", "sys=base", "reactor=base,sys", ...; uses_ROOM the right side.
ROWS := $(shell sed -n 's/ *\#.*//; s/^[^ ]\{1,\}$$/&=/; s/  */=/; \
  s/  */,/g; /=/p' scripts/rooms)
define row_rule
ROOMS += $(1)
uses_$(1) := $(2)
endef
$(foreach row,$(ROWS),$(eval $(call row_rule,$(firstword $(subst =, ,$(row))),\
  $(subst $(comma), ,$(word 2,$(subst =, ,$(row)))))))

# A room with all rooms that it depends on, the lowest first.
under = $(1) $(foreach room,$(uses_$(1)),$(call under,$(room)))
stack = $(filter $(call under,$(1)),$(ROOMS))

# Tests of code outside the rooms: the simulator's check of histories, ...
uses_linear := base
extra_linear := tests/sim/linear.c
# ... and the room peer/ over a reactor of the fuzz target.
uses_link := base crypto raft wire
extra_link := $(wildcard src/peer/*.c) src/reactor/addr.c fuzz/fake_reactor.c
extra_api := fuzz/fake_reactor.c
# ... and kqueue, which is emulated here, with the reactor over it.
uses_kqueue := base sys
extra_kqueue := tests/support/kqueue_over_epoll.c tests/support/not_linux.c \
  $(filter-out src/reactor/epoll.c,$(wildcard src/reactor/*.c))

# Files that are in the binary, by the name of the variable that has their bytes; a
# room has the generated sources among its own.
EMBED := openapi ui help
EMBED_openapi := src/api/openapi.yaml
EMBED_ui := $(BUILD)/generated/ui.html
EMBED_help := $(BUILD)/generated/help.txt
generated_api := $(patsubst %,$(BUILD)/generated/%.c,openapi ui ui_policy)
generated_client := $(BUILD)/generated/help.c

# kqueue.c is for the BSDs and macOS, epoll.c for Linux.
ifeq ($(shell uname -s),Linux)
NOT_HERE := src/reactor/kqueue.c
else
NOT_HERE := src/reactor/epoll.c
endif
# The build runs it.
HELP_PAGES := $(wildcard src/client/help_*.c)
NOT_HERE += $(HELP_PAGES)
room_sources = $(filter-out $(NOT_HERE),$(sort $(wildcard src/$(1)/*.c))) \
  $(wildcard src/$(1).c) $(generated_$(1))
sources_of = $(foreach room,$(1),$(call room_sources,$(room)))
stack_sources = $(call sources_of,$(call stack,$(1)))
objects = $(patsubst %.c,$(BUILD)/$(1)/%.o,$(2))

SOURCES := $(call sources_of,$(ROOMS))

# Support files of a room's tests, and of the tests of rooms above it.
support_raft := tests/support/engine.c
support_sys := tests/support/simdisk.c tests/support/failfs.c
support_wal := tests/support/walmodel.c
support_store := tests/support/simvfs.c
support_auth := tests/support/authfile.c
support_peer := tests/support/peersock.c
support_sources = $(foreach room,$(call stack,$(1)),$(support_$(room)))

# tests/unit/test_ROOM[_more].c links with the rooms under and including ROOM,
# and with their support.
UNIT_TESTS := $(patsubst tests/unit/%.c,%,$(sort $(wildcard tests/unit/test_*.c)))
FUZZ_TARGETS := $(patsubst fuzz/fuzz_%.c,%,$(sort $(wildcard fuzz/fuzz_*.c)))
room_of = $(firstword $(subst _, ,$(patsubst test_%,%,$(1))))

.PHONY: all
all: $(BUILD)/craftd

# ---- the daemon ----

# Views of the locations of variables take time to write, and gdb does not use them.
RELEASE_CFLAGS := -O1 -g $(if $(findstring clang,$(CC)),,-gno-variable-location-views) $(HARDEN)
RELEASE_LDFLAGS := -static-pie -Wl,-z,relro,-z,now,-z,noexecstack \
  -Wl,--gc-sections -Wl,--no-warnings
$(BUILD)/craftd: $(call objects,release,$(SOURCES))
	$(CC) $(RELEASE_CFLAGS) $(RELEASE_LDFLAGS) -o $@.debug $^ $(LIBS)
	strip -o $@ $@.debug

# A machine with the node as its only program, emulated (a minute).
.PHONY: initramfs
initramfs: $(BUILD)/craftd $(BUILD)/probe
	scripts/setup machine
	scripts/proc test_initramfs
$(BUILD)/probe: tests/proc/probe.c
	@mkdir -p $(@D)
	$(CC) $(LANGUAGE) $(WARN) -O2 -static -o $@ $<

# Code that runs for each request, message or entry, or takes part of the start, is
# compiled with -O2. All other code has the optimisations of -O1: the rest takes a
# fifth of the time of a build, and no request is faster for it. In the published
# binaries that code is compiled for size (scripts/release.mk).
in_src = $(addprefix src/,$(addsuffix .c,$(1)))
HOT := $(call in_src,\
  $(addprefix api/,routes writes) \
  $(addprefix base/,base bytes crc32c heap histogram) \
  $(addprefix command/,command) $(addprefix crypto/,aead secret sha256) \
  $(addprefix http/,head reader target) json/json \
  $(addprefix node/,apply checkpoint disk duties engine entries expiry flush persist \
    receive reads send space time turn update) \
  $(addprefix raft/,check log message raft) \
  $(addprefix reactor/,epoll reactor) \
  $(addprefix store/,checkpoint reserve table tier) \
  $(addprefix sys/,fs_uring sync sys uring) \
  $(addprefix wal/,format read scan) \
  $(addprefix wire/,frame message))
# The published binaries have no room for these at that level.
WARM := $(call in_src,api/conns api/keys api/params api/read api/server http/response \
  node/requests node/status raft/conf reactor/stream)
$(call objects,release,$(HOT) $(WARM)): RELEASE_CFLAGS += -O2

PREFIX ?= /usr/local
DESTDIR ?=
.PHONY: install
install: $(BUILD)/craftd
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $< $(DESTDIR)$(PREFIX)/bin/craftd

# What is published, into build/dist: packages, images, services, pages; of the
# binaries of `make release`, if it has made some.
.PHONY: dist
dist: $(BUILD)/craftd
	scripts/dist/build $(BUILD)/dist

# The files of EMBED are in the binary, compressed: base/inflate.h.
define embed_rule
$(BUILD)/generated/$(1).c: $(EMBED_$(1)) Makefile
	@mkdir -p $$(@D)
	(echo '/* From $$<. */'; echo '#include "base/inflate.h"'; \
	  echo 'extern const struct bytes embedded_$(1);'; \
	  echo 'static const uint8_t gzip[] = {'; \
	  gzip -9nc $$< | od -An -v -tu1 | sed 's/[0-9]\{1,\}/&,/g'; echo '};'; \
	  echo 'const struct bytes embedded_$(1) = {gzip, sizeof(gzip)};') >$$@
endef
$(foreach name,$(EMBED),$(eval $(call embed_rule,$(name))))

# The pages of the manual, one after the other, as a program of this machine
# prints them.
HOSTCC ?= $(CC)
$(BUILD)/generated/help.txt: scripts/help_text.c $(HELP_PAGES) \
  src/client/help_internal.h src/client/client_internal.h src/client/help.h
	@mkdir -p $(@D)
	$(HOSTCC) $(LANGUAGE) $(WARN) -o $(@:.txt=) $<
	$(@:.txt=) >$@

# The web page: one document, and the policy that names the hashes of its parts.
$(BUILD)/generated/ui.html: $(wildcard src/ui/*)
	@mkdir -p $(@D)
	src/ui/assemble $@
$(BUILD)/generated/ui_policy.c: $(BUILD)/generated/ui.html
	(echo '#include "api/routes_internal.h"'; \
	  echo "const char api_ui_policy[] = \"$$(cat $<.policy)\";") >$@

$(BUILD)/release/%.o: %.c
	@[ -d $(@D) ] || mkdir -p $(@D)
	$(CC) $(LANGUAGE) $(WARN) $(RELEASE_CFLAGS) -ffunction-sections \
	  -fdata-sections -MMD -MP -c -o $@ $<

# The same daemon with the sanitizers, for tests/proc.
$(BUILD)/craftd-check: $(call objects,check,$(SOURCES))
	$(CC) $(SANITIZE) -o $@ $^ $(LIBS)

include tests/proc/next.mk

CHECK_CFLAGS := -O1 -g $(SANITIZE)
$(BUILD)/check/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(LANGUAGE) -Itests $(WARN) $(CHECK_CFLAGS) -MMD -MP -c -o $@ $<

# ---- unit tests ----

# Support of single tests: stores in a directory of their own, and transactions for
# them; a simulated process that may call die(), and starts again; a time that is the
# test's own.
$(foreach test,test_store test_store_txn test_store_restore test_store_hostile \
  test_store_view test_store_changes test_store_time test_store_writeback,\
  $(eval more_$(test) := tests/support/storedir.c))
$(foreach test,test_crypto_timing test_auth_timing,$(eval more_$(test) := tests/support/dudect.c))
$(foreach test,test_store_txn test_store_time,$(eval more_$(test) += tests/support/script.c))
$(foreach test,test_wal_nth test_store_nth,$(eval \
  more_$(test) := tests/support/dying.c tests/support/nth.c)$(eval \
  wrap_$(test) := -Wl$(comma)--wrap=die))
wrap_test_peer_admission := -Wl,--wrap=sys_now_ms,--wrap=sys_now_ns
# A test whose kernel has no random numbers yet, or none.
wrap_test_sys_entropy := -Wl,--wrap=getrandom
# A test whose kernel accepts no connection.
wrap_test_reactor_accept := -Wl,--wrap=accept4

define unit_rule
$(BUILD)/check/$(1): $(BUILD)/check/tests/unit/$(1).o \
  $$(call objects,check,$$(call stack_sources,$(call room_of,$(1)))) \
  $$(call objects,check,$$(extra_$(call room_of,$(1)))) \
  $$(call objects,check,$$(call support_sources,$(call room_of,$(1))) \
  $(more_$(1)))
	$$(CC) $$(SANITIZE) $(wrap_$(1)) $$(WRAP) -o $$@ $$^ -lcmocka $$(LIBS)
endef
$(foreach test,$(UNIT_TESTS),$(eval $(call unit_rule,$(test))))

include tests/support/kqueue.mk
include scripts/systems.mk

.PHONY: unit
# All unit tests, or one: make unit T=test_wal
unit: $(addprefix $(BUILD)/check/,$(if $(T),$(T),$(UNIT_TESTS)))
	scripts/run-tests $^

include scripts/release.mk

# ---- the simulator ----

# The daemon's own rooms over a virtual network and disk: tests/sim/net.c takes the
# place of reactor/.
SIM_ROOMS := $(filter-out reactor,$(call stack,tests/sim))
SIM_SOURCES := $(call sources_of,$(SIM_ROOMS)) src/reactor/addr.c $(support_sys) $(support_store) \
  $(sort $(wildcard tests/sim/*.c))
SIM_LDFLAGS := -Wl,--wrap=die
SIM_CFLAGS := -O2 -g
$(BUILD)/sim/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(LANGUAGE) -Itests $(WARN) $(SIM_CFLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/simulator: $(call objects,sim,$(SIM_SOURCES))
	$(CC) $(SIM_LDFLAGS) -o $@ $^ $(LIBS)
# With the sanitizers: memory of a host that dies is lost, and no leak.
$(BUILD)/simulator-check: $(call objects,check,$(SIM_SOURCES))
	$(CC) $(SANITIZE) $(SIM_LDFLAGS) -o $@ $^ $(LIBS)

# ---- every crash state ----

# Whole nodes, as in the simulator, without a network.
CRASH_SOURCES := $(call stack_sources,tests/crash) $(support_sys) \
  $(support_wal) $(support_store) $(sort $(wildcard tests/crash/*.c))
$(BUILD)/crash: $(call objects,sim,$(CRASH_SOURCES))
	$(CC) $(SIM_LDFLAGS) -o $@ $^ $(LIBS)
$(BUILD)/crash-check: $(call objects,check,$(CRASH_SOURCES))
	$(CC) $(SANITIZE) $(SIM_LDFLAGS) -o $@ $^ $(LIBS)

# The same states every time, with the sanitizers and without.
CRASH_STATES := 3800
.PHONY: crash crash-fixed
crash-fixed: $(BUILD)/crash-check $(BUILD)/crash
	ASAN_OPTIONS=detect_leaks=0 $(BUILD)/crash-check --states $(CRASH_STATES) \
	  | tee $(BUILD)/crash-check.txt
	$(BUILD)/crash --states $(CRASH_STATES) >$(BUILD)/crash-plain.txt
	@test "$$(sed 's/, *[^,]* us each//; s/; [^;]*$$//' $(BUILD)/crash-check.txt)" = \
	  "$$(sed 's/, *[^,]* us each//; s/; [^;]*$$//' $(BUILD)/crash-plain.txt)" || \
	  { echo 'crash: the two runs of the same states differ'; exit 1; }
# make crash STATES=n, or SECONDS=n; ONLY=log: one workload.
crash: $(BUILD)/crash
	$(BUILD)/crash $(if $(STATES),--states $(STATES),--seconds $(SECONDS)) \
	  $(if $(ONLY),--only $(ONLY))

# The same runs every time, twice: whole clusters with the sanitizers, and
# the same again without, optimised; the hashes must agree.
SIM_SEEDS := 1-150
.PHONY: sim sim-fixed
sim-fixed: $(BUILD)/simulator-check $(BUILD)/simulator
	ASAN_OPTIONS=detect_leaks=0 $(BUILD)/simulator-check --seeds $(SIM_SEEDS) \
	  | tee $(BUILD)/sim-check.txt
	$(BUILD)/simulator --seeds $(SIM_SEEDS) >$(BUILD)/sim-plain.txt
	$(BUILD)/simulator --scenes
	@for seed in $$(sed -n 's/^\([0-9][0-9]*\) .*/\1/p' tests/sim/regress.txt); do \
	  $(BUILD)/simulator --seed $$seed >/dev/null || exit 1; done
	@test "$$(sed 's/.*hash //' $(BUILD)/sim-check.txt)" = \
	  "$$(sed 's/.*hash //' $(BUILD)/sim-plain.txt)" || \
	  { echo 'sim: the two runs of the same seeds differ'; exit 1; }
# One seed, traced: make sim SEED=n. Fresh ones: make sim SECONDS=n.
sim: $(BUILD)/simulator
	CRAFTD_COMMIT=$$(git rev-parse --short HEAD 2>/dev/null) \
	  $(BUILD)/simulator $(if $(SEED),--seed $(SEED) --trace,--seconds $(SECONDS))

.PHONY: mutants
# Plant known bugs, one at a time; every one must be found. A part of them, for
# several cores: make mutants MUTANTS='--only src/api --shard 1/2'.
mutants:
	tests/mutants/run.py $(MUTANTS)

# ---- fuzzing ----

FUZZ_CFLAGS := -O1 -g $(SANITIZE) -fsanitize=fuzzer-no-link
$(BUILD)/fuzz/%.o: %.c
	@mkdir -p $(@D)
	$(CLANG) $(LANGUAGE) -Itests $(CLANG_WARN) $(FUZZ_CFLAGS) -MMD -MP -c -o $@ $<

# The room's results are compared with OpenSSL's.
fuzz_libs_crypto := -lcrypto

# The fuzzer is the server that the commands reach.
fuzz_wrap_client := -Wl,--wrap=dial

# The fuzzer is the reactor: fuzz/fake_reactor.c, and the rest in the target.
FAKE_REACTOR := $(addprefix -Wl$(comma)--wrap=,reactor_now_ms listener_open \
  stream_set_handler stream_set_input_limit)
fuzz_wrap_link := $(FAKE_REACTOR)

# It is that of the API, and checks reads and answers.
fuzz_wrap_api := $(FAKE_REACTOR) $(addprefix -Wl$(comma)--wrap=,reactor_turns \
  reactor_turn_max_us reactor_turn_times timer_arm timer_cancel listener_close listener_hold \
  stream_output stream_write stream_output_bytes stream_input_bytes stream_peer_network \
  stream_peer_uid stream_peer_text stream_has_unread stream_kick stream_close \
  stream_close_after_flush stream_close_after_drain http_read http_read_body \
  api_metrics_count)

define fuzz_rule
$(BUILD)/fuzz/fuzz_$(1): $(BUILD)/fuzz/fuzz/fuzz_$(1).o \
  $$(call objects,fuzz,$$(call stack_sources,$(call room_of,$(1)))) \
  $$(call objects,fuzz,$$(extra_$(call room_of,$(1)))) \
  $$(call objects,fuzz,$$(call support_sources,$(call room_of,$(1))))
	$$(CLANG) $$(SANITIZE) -fsanitize=fuzzer -o $$@ $$^ $$(LIBS) $$(fuzz_libs_$(1)) $$(fuzz_wrap_$(1))
$(BUILD)/check/replay_$(1): $(BUILD)/check/fuzz/fuzz_$(1).o \
  $(BUILD)/check/fuzz/replay.o \
  $$(call objects,check,$$(call stack_sources,$(call room_of,$(1)))) \
  $$(call objects,check,$$(extra_$(call room_of,$(1)))) \
  $$(call objects,check,$$(call support_sources,$(call room_of,$(1))))
	$$(CC) $$(SANITIZE) -o $$@ $$^ $$(LIBS) $$(fuzz_libs_$(1)) $$(fuzz_wrap_$(1))
endef
$(foreach target,$(FUZZ_TARGETS),$(eval $(call fuzz_rule,$(target))))

SECONDS ?= 60
.PHONY: fuzz fuzz-all corpus
# One target: make fuzz T=http SECONDS=300. Findings go to fuzz/regress/.
fuzz: $(BUILD)/fuzz/fuzz_$(T)
	@mkdir -p $(BUILD)/corpus/$(T) fuzz/regress/$(T)
	$(BUILD)/fuzz/fuzz_$(T) -max_total_time=$(SECONDS) -max_len=65536 \
	  -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 -verbosity=1 \
	  -artifact_prefix=fuzz/regress/$(T)/ \
	  $(BUILD)/corpus/$(T) $(wildcard fuzz/corpus/$(T)) fuzz/regress/$(T)

# Every target for SECONDS, one on every processor, as CI does.
FUZZ_PROGRAMS := $(addprefix $(BUILD)/fuzz/fuzz_,$(FUZZ_TARGETS))
fuzz-all: $(FUZZ_PROGRAMS)
	BUILD=$(BUILD) scripts/fuzz $(SECONDS) $(FUZZ_TARGETS)

# Add the inputs of runs here to the committed corpus of T: a minimal set that reaches
# every edge. Inputs that are there already stay.
corpus: $(BUILD)/fuzz/fuzz_$(T)
	@mkdir -p fuzz/corpus/$(T) $(BUILD)/corpus/$(T)
	$(BUILD)/fuzz/fuzz_$(T) -set_cover_merge=1 -use_counters=0 -max_len=16384 \
	  -timeout=10 fuzz/corpus/$(T) $(BUILD)/corpus/$(T)

.PHONY: replay
# Replay every corpus through its target, with any compiler.
replay: $(addprefix $(BUILD)/check/replay_,$(FUZZ_TARGETS))
	@for t in $(FUZZ_TARGETS); do \
	  $(BUILD)/check/replay_$$t $$t fuzz/corpus/$$t fuzz/regress/$$t || exit 1; done

# ---- checks of every commit ----

C_FILES := $(shell find src tests fuzz scripts -name "*.[ch]")
HEADERS := $(shell find src -name '*.h')

.PHONY: check

check:
	$(MAKE) WERROR=1 format-check layers scenarios headers systems unit kqueue-unit replay crash-fixed sim-fixed

.PHONY: format format-check layers scenarios headers tidy
format:
	clang-format -i $(C_FILES)
format-check:
	clang-format --dry-run -Werror $(C_FILES)
layers:
	scripts/check-layers
scenarios:
	scripts/check-scenarios
headers:
	@for h in $(HEADERS); do \
	  $(CC) $(LANGUAGE) $(WARN) -Wno-unused -fsyntax-only -x c $$h || exit 1; done
tidy: $(generated_api)
	clang-tidy --quiet $(SOURCES) -- $(LANGUAGE)
	cppcheck --quiet --error-exitcode=1 --std=c11 \
	  --enable=warning,performance,portability \
	  --inline-suppr -Isrc $(SOURCES)
	shellcheck $(filter-out scripts/rooms scripts/dist scripts/release %.mk,$(wildcard scripts/*)) .ci/run \
	  $(addprefix scripts/dist/,build deb craftd.openrc craftd.procd)

.PHONY: proc bench cover compdb static repro clean help
proc: $(BUILD)/craftd $(BUILD)/craftd-next $(BUILD)/craftd-far $(BUILD)/craftd-before $(BUILD)/kqueue/craftd
	scripts/proc $(T)
bench: $(BUILD)/craftd $(BUILD)/flood
	tests/bench/bench.py $(BENCH)
$(BUILD)/flood: tests/bench/flood.c
	@mkdir -p $(@D)
	$(CC) $(LANGUAGE) $(WARN) -O2 -o $@ $<
static: $(BUILD)/craftd
	size $<
	ls -l $<
	ldd $< 2>&1 | grep -E 'statically linked|not a dynamic executable'
repro:
	scripts/repro
cover:
	scripts/cover
compdb: clean
	bear --output compile_commands.json -- $(MAKE) all
clean:
	rm -rf $(BUILD)

help:
	@echo 'make                     build/craftd: static, hardened, asserts on'
	@echo 'make release             static binaries with musl for ARCHES (seven of them),'
	@echo '                         after scripts/setup release; make small: optimised for size'
	@echo 'make release-unit ARCH=mips   the unit tests, as released for that processor'
	@echo 'make install             into PREFIX/bin (/usr/local); DESTDIR'
	@echo 'make dist                packages, images, services, pages: build/dist'
	@echo 'make macos               for macOS, by zig: build/macos/craftd-arm64, -amd64'
	@echo 'make systems             what differs by system, as for each BSD'
	@echo 'make check               format, layers, headers, unit tests, corpora'
	@echo 'make unit T=test_wal     one unit test program (all without T)'
	@echo 'make kqueue-unit         those of the reactor, over its kqueue back-end'
	@echo 'make sim SECONDS=n       whole clusters in a simulator, fresh seeds'
	@echo 'make sim SEED=n          replay one of them, traced'
	@echo 'make crash STATES=n      power loss at every change of a disk, recovered'
	@echo 'make mutants             plant bugs, one by one; tests must find each;'
	@echo '                         MUTANTS="--list", "--only TEXT", "--shard K/N"'
	@echo 'make replay              fuzz corpora through every target'
	@echo 'make fuzz T=http SECONDS=n   one libFuzzer target'
	@echo 'make fuzz-all SECONDS=n  all of them, n seconds each'
	@echo 'make corpus T=http       keep the new inputs, minimised'
	@echo 'make proc T=name         real processes: kill -9, restarts, joins'
	@echo 'make initramfs           the node as the only program of a virtual machine'
	@echo 'make bench               throughput, latency, CPU, compared with etcd'
	@echo 'make tidy                clang-tidy, cppcheck, shellcheck'
	@echo 'make cover               branch coverage by room'
	@echo 'make static              size and proof of a static binary'
	@echo 'make repro               build twice in two folders and compare'
	@echo 'make format              clang-format everything'
	@echo 'make compdb clean'

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
