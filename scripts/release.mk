# release.mk -- included by the Makefile: `make release`, static binaries with musl
# for several architectures, in build/release/craftd-ARCH; `make small` optimises
# them for size throughout, in build/small/craftd-ARCH. The sources of the libraries
# and musl come from scripts/release-sources.
#
# Debian's gcc compiles for those architectures for which Debian has musl, zig for
# the others; zig brings musl and the kernel's headers along.
ARCHES ?= amd64 arm64 armhf riscv64 i386 mips mipsel
FETCHED ?= build/sources

# The prefix of the tools, and the name of musl's folder.
triplet_amd64 := x86_64-linux-gnu
triplet_arm64 := aarch64-linux-gnu
triplet_armhf := arm-linux-gnueabihf
musl_amd64 := x86_64-linux-musl
musl_arm64 := aarch64-linux-musl
musl_armhf := arm-linux-musleabihf
zig_riscv64 := riscv64-linux-musl
zig_i386 := x86-linux-musl
zig_mips := mips-linux-musl
zig_mipsel := mipsel-linux-musl

# What each architecture can do of its own against faults. Not -fcf-protection and
# not BTI: the kernel enforces neither, since musl is compiled without.
# Alignment is dropped: it costs 3 % of the size.
pack := -falign-functions=1 -falign-loops=1 -falign-jumps=1 -falign-labels=1
flags_amd64 := -fcf-protection=none -fstack-clash-protection $(pack)
flags_arm64 := -mbranch-protection=pac-ret -mno-outline-atomics \
  -fstack-clash-protection $(pack)
# Optimisations that make code larger there than smaller.
flags_armhf := -fstack-clash-protection $(pack) -fno-tree-dominator-opts \
  -fno-caller-saves -fno-if-conversion

# Of gcc's optimisations, those that make SQLite larger.
sqlite_amd64 := -fipa-pta -fno-move-loop-invariants -fno-optimize-sibling-calls
sqlite_arm64 := -fipa-pta -fno-move-loop-invariants
sqlite_armhf := -fipa-pta -fno-move-loop-invariants

# Position-independent, and relocated by itself at start. A static-pie of armhf
# ends with a segmentation fault there, one of zig's is dynamic.
pie_amd64 := yes
pie_arm64 := yes

# Sections in the order of their alignment need less between them: 0.8 KB of armhf.
# Of arm64, functions that stay together need fewer pages of the linker's detours
# around a fault of the Cortex-A53 (erratum 843419), each of 4 KB: one, not four.
link_armhf := -Wl,--sort-section=alignment
link_arm64 := -Wl,--sort-section=alignment

# Relocations packed to a bitmap, which scripts/release/start_relr.c applies: they are
# 3 % of the size otherwise. Debian's ld of arm64 cannot pack them.
relr_amd64 := -Wl,-z,pack-relative-relocs

# The headers of the kernel, but no others of that folder.
kernel_amd64 := /usr/include
kernel_arm64 := /usr/aarch64-linux-gnu/include
kernel_armhf := /usr/arm-linux-gnueabihf/include
asm_amd64 := /usr/include/x86_64-linux-gnu/asm
asm_arm64 := $(kernel_arm64)/asm
asm_armhf := $(kernel_armhf)/asm

# SQLite with one thread, and without what the daemon never calls and optimisations
# of queries that it never makes. What store/ needs of the parts that could be left
# out too: the authorizer, the progress handler, ALTER TABLE, integrity_check,
# freelist_count, auto-vacuum in an uploaded file, deserialize, which needs ATTACH.
SQLITE_CFLAGS := -DSQLITE_THREADSAFE=0 -DSQLITE_DQS=0 \
  -DSQLITE_DEFAULT_MEMSTATUS=0 -DSQLITE_DEFAULT_WAL_SYNCHRONOUS=1 \
  -DSQLITE_LIKE_DOESNT_MATCH_BLOBS -DSQLITE_MAX_EXPR_DEPTH=0 \
  -DSQLITE_STRICT_SUBTYPE=1 -DSQLITE_USE_ALLOCA -DSQLITE_MAX_MMAP_SIZE=0 \
  -DSQLITE_UNTESTABLE -DSQLITE_DISABLE_INTRINSIC \
  -DHAVE_USLEEP=1 -DHAVE_FDATASYNC=1 \
  $(addprefix -DSQLITE_OMIT_,DECLTYPE DEPRECATED SHARED_CACHE LOAD_EXTENSION \
  JSON UTF16 COMPLETE GET_TABLE INCRBLOB DATETIME_FUNCS LOCALTIME TRACE \
  COMPILEOPTION_DIAGS TCL_VARIABLE SCHEMA_PRAGMAS HEX_INTEGER FOREIGN_KEY \
  OR_OPTIMIZATION LIKE_OPTIMIZATION AUTOMATIC_INDEX XFER_OPT AUTOINCREMENT EXPLAIN REINDEX \
  TRIGGER WINDOWFUNC INTROSPECTION_PRAGMAS VIRTUALTABLE ANALYZE VACUUM \
  COMPOUND_SELECT) \
  -I$(FETCHED)/sqlite -include scripts/release/sqlite_omit.h

# The parser of the amalgamation expects some of that to be there. A version of
# SQLite for which this does not replace four lines needs another look.
$(BUILD)/cross/sqlite3.c: $(FETCHED)/sqlite/sqlite3.c scripts/release/sqlite.sed \
  scripts/release/sqlite_omitted.c
	@mkdir -p $(@D)
	sed -f scripts/release/sqlite.sed $< >$@.tmp
	diff $< $@.tmp | sed -n 's/^\([<>]\).*/\1/p' | sort | uniq -c | tr -d ' \n' | \
	  grep -qx '64<11>'
	cat scripts/release/sqlite_omitted.c >>$@.tmp
	mv $@.tmp $@

CROSS_CFLAGS := -std=c11 -ffunction-sections -fdata-sections \
  -fno-asynchronous-unwind-tables -fno-unwind-tables -fno-ident \
  -fstack-protector-strong -ffile-prefix-map=$(CURDIR)=.
CROSS_LDFLAGS := -Wl,--gc-sections -Wl,-z,relro,-z,now,-z,noexecstack

# A folder with links to the headers of the kernel only: musl has none.
define kernel_rule
$(BUILD)/cross/kernel-$(1):
	rm -rf $$@.tmp && mkdir -p $$@.tmp
	ln -s $(kernel_$(1))/linux $(kernel_$(1))/asm-generic $$@.tmp
	ln -s $(asm_$(1)) $$@.tmp/asm
	mv $$@.tmp $$@
endef
$(foreach arch,$(filter amd64 arm64 armhf,$(ARCHES)),\
  $(eval $(call kernel_rule,$(arch))))

define relr_rule
$(BUILD)/cross/start_relr-$(1).o: scripts/release/start_relr.c scripts/release.mk \
  | $(BUILD)/cross/kernel-$(1)
	$(call gcc_compile,$(1)) $(CROSS_CFLAGS) $(flags_$(1)) -fno-stack-protector \
	  -Wall -Wextra $(if $(WERROR),-Werror) -Os -c -o $$@ $$<
endef

# How to compile for an architecture, and how to link.
cross_gcc = $(triplet_$(1))-gcc
gcc_own = $$$$(dirname $$$$($(call cross_gcc,$(1)) -print-libgcc-file-name))
gcc_compile = $(call cross_gcc,$(1)) -nostdinc \
  -isystem $(FETCHED)/musl-$(1)/include/$(musl_$(1)) \
  -isystem $(gcc_own)/include -isystem $(BUILD)/cross/kernel-$(1) \
  $(if $(pie_$(1)),-fPIE,-fno-pie)
# By hand: the specs that Debian's musl comes with give -static-pie a dynamic
# program without a word.
gcc_link = $(call cross_gcc,$(1)) -nostdlib -nostartfiles \
  $(if $(pie_$(1)),-static-pie,-static -no-pie) -Wl,--build-id=none \
  -Wl,-z,noseparate-code $(if $(relr_$(1)),$(relr_$(1)) -Wl$(comma)-e$(comma)start_relr \
  $(BUILD)/cross/start_relr-$(1).o) \
  $(addprefix $(FETCHED)/musl-$(1)/lib/$(musl_$(1))/,\
  $(if $(pie_$(1)),rcrt1.o,crt1.o) crti.o)
gcc_link_end = -Wl,--start-group $(FETCHED)/musl-$(1)/lib/$(musl_$(1))/libc.a \
  -lgcc -Wl,--end-group $(FETCHED)/musl-$(1)/lib/$(musl_$(1))/crtn.o

$(foreach arch,$(filter amd64,$(ARCHES)),$(eval $(call relr_rule,$(arch))))

zig_run = ZIG_LOCAL_CACHE_DIR=$(abspath $(BUILD))/cross/zig-cache \
  ZIG_GLOBAL_CACHE_DIR=$(abspath $(BUILD))/cross/zig-cache $(FETCHED)/zig/zig cc \
  -target $(zig_$(1))
zig_compile = $(zig_run) -fno-sanitize=undefined
zig_link = $(zig_run) -static

cross_compile = $(if $(zig_$(1)),$(zig_compile),$(gcc_compile)) \
  $(CROSS_CFLAGS) $(flags_$(1))
cross_link = $(if $(zig_$(1)),$(zig_link),$(gcc_link)) $(CROSS_LDFLAGS) $(link_$(1))
cross_link_end = $(if $(zig_$(1)),,$(gcc_link_end))

# Objects of size ($1: release or small) and architecture ($2). The order-only
# folder comes from a rule above.
CROSS_INCLUDE := -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -Isrc -DMUST_WITHOUT_TEXT \
  -isystem $(FETCHED)/sqlite -isystem $(FETCHED)/http-parser
optimise_release := -O2
optimise_small := -Os
# What is not HOT is compiled for size, and all where flash is scarcer than time.
hot_armhf := -Oz
CROSS_LIBRARIES := sqlite3 http_parser scripts/release/libc
define cross_rules
$(BUILD)/cross/$(1)-$(2)/%.o: OPTIMISE := -Oz
$(call objects,cross/$(1)-$(2),$(HOT) scripts/release/libc.c): OPTIMISE := $(or $(hot_$(2)),$(optimise_$(1)))
$(BUILD)/cross/$(1)-$(2)/%.o: %.c scripts/release.mk $(if $(zig_$(2)),,| $(BUILD)/cross/kernel-$(2))
	@mkdir -p $$(@D)
	$(call cross_compile,$(2)) $$(CROSS_INCLUDE) -Wall -Wextra \
	  $(if $(WERROR),-Werror) $$(OPTIMISE) -MMD -MP -c -o $$@ $$<
$(BUILD)/cross/$(1)-$(2)/sqlite3.o: $(BUILD)/cross/sqlite3.c scripts/release/sqlite_omit.h scripts/release.mk \
  $(if $(zig_$(2)),,| $(BUILD)/cross/kernel-$(2))
	@mkdir -p $$(@D)
	$(call cross_compile,$(2)) -Oz $(sqlite_$(2)) $(SQLITE_CFLAGS) -w -c -o $$@ $$<
$(BUILD)/cross/$(1)-$(2)/http_parser.o: $(FETCHED)/http-parser/http_parser.c \
  $(if $(zig_$(2)),,| $(BUILD)/cross/kernel-$(2))
	@mkdir -p $$(@D)
	$(call cross_compile,$(2)) -Oz -w -c -o $$@ $$<
$(BUILD)/$(1)/craftd-$(2): $(call objects,cross/$(1)-$(2),$(SOURCES) $(CROSS_LIBRARIES:=.c)) \
  $(if $(relr_$(2)),| $(BUILD)/cross/start_relr-$(2).o)
	@mkdir -p $$(@D)
	$(call cross_link,$(2)) -s -o $$@.tmp $$^ $(call cross_link_end,$(2))
	scripts/check-release $(if $(pie_$(2)),pie,fixed) $(or $(bytes_max_$(2)),0) $$@.tmp \
	  $(BUILD)/cross/$(1)-$(2)/src/main.o $(BUILD)/cross/$(1)-$(2)/sqlite3.o
	mv $$@.tmp $$@
endef
$(foreach size,release small,$(foreach arch,$(ARCHES),\
  $(eval $(call cross_rules,$(size),$(arch)))))

.PHONY: release small
release small: %: $(foreach arch,$(ARCHES),$(BUILD)/%/craftd-$(arch))

# ---- the unit tests, from the objects of a release ----

# make release-unit ARCH=i386, or one of them with T=test_wal: what is tested is the
# code that is released, with its SQLite and libc; where the processor is another,
# by qemu.
ARCH ?= amd64
RUN_amd64 :=
RUN_i386 :=
RUN_arm64 := qemu-aarch64-static
RUN_armhf := qemu-arm-static
RUN_riscv64 := qemu-riscv64-static
RUN_mips := qemu-mips-static
RUN_mipsel := qemu-mipsel-static

CMOCKA_CFLAGS := $(addprefix -DHAVE_,INTTYPES_H MALLOC_H SETJMP_H SIGNAL_H \
  STRINGS_H STRSIGNAL STRUCT_TIMESPEC CLOCK_GETTIME CLOCK_REALTIME) -w
# cmocka.h would define uintptr_t, as it knows only the headers of other libcs.
CMOCKA_INCLUDE := -isystem $(FETCHED)/cmocka/include -D_UINTPTR_T_DEFINED
CROSS_UNIT := $(BUILD)/cross/release-$(ARCH)
define cmocka_rule
$(CROSS_UNIT)/cmocka.o: $(FETCHED)/cmocka/src/cmocka.c \
  $(if $(zig_$(ARCH)),,| $(BUILD)/cross/kernel-$(ARCH))
	@mkdir -p $$(@D)
	$(call cross_compile,$(ARCH)) -D_GNU_SOURCE $(CMOCKA_INCLUDE) \
	  $(CMOCKA_CFLAGS) -O1 -c -o $$@ $$<
endef
$(eval $(cmocka_rule))
$(CROSS_UNIT)/tests/%.o: CROSS_INCLUDE += -Itests $(CMOCKA_INCLUDE)
define cross_unit_rule
$(CROSS_UNIT)/$(1): $(CROSS_UNIT)/tests/unit/$(1).o $(CROSS_UNIT)/cmocka.o \
  $$(call objects,cross/release-$(ARCH),$$(call stack_sources,$(call room_of,$(1))) \
  $$(extra_$(call room_of,$(1))) $$(call support_sources,$(call room_of,$(1))) \
  $$(more_$(1)) $(CROSS_LIBRARIES:=.c)) \
  $(if $(relr_$(ARCH)),| $(BUILD)/cross/start_relr-$(ARCH).o)
	$(call cross_link,$(ARCH)) $$(wrap_$(1)) -o $$@ $$^ $(call cross_link_end,$(ARCH))
endef
CROSS_TESTS := $(filter-out $(KQUEUE_OWN),$(UNIT_TESTS))
$(foreach test,$(CROSS_TESTS),$(eval $(call cross_unit_rule,$(test))))

.PHONY: release-unit
release-unit: $(addprefix $(CROSS_UNIT)/,$(if $(T),$(T),$(CROSS_TESTS)))
	RUN='$(RUN_$(ARCH))' scripts/run-tests $^
