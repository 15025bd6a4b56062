# systems.mk -- included by the Makefile: other systems than Linux, as far as they can
# be had here.
#
# `make macos`: the daemon for macOS, compiled and linked by zig, which brings Apple's
# headers and the stubs of its libraries along: build/macos/craftd-arm64 and
# craftd-amd64. Nothing here can run them. Sources and zig come from
# scripts/release-sources (scripts/setup release).
FETCHED ?= build/sources
MACOS_ARCHES ?= arm64 amd64
MACOS_OPTIMISE ?= -O2
macos_arm64 := aarch64-macos
macos_amd64 := x86_64-macos

MACOS_SOURCES = $(filter-out src/reactor/epoll.c,$(SOURCES)) src/reactor/kqueue.c
MACOS_CC = ZIG_LOCAL_CACHE_DIR=$(abspath $(BUILD))/cross/zig-cache \
  ZIG_GLOBAL_CACHE_DIR=$(abspath $(BUILD))/cross/zig-cache $(FETCHED)/zig/zig cc
MACOS_CFLAGS = -std=c11 -fno-sanitize=undefined -fstack-protector-strong \
  -ffile-prefix-map=$(CURDIR)=.
MACOS_WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes \
  -Wmissing-prototypes $(if $(WERROR),-Werror)

define macos_rules
$(BUILD)/cross/macos-$(1)/%.o: %.c scripts/systems.mk
	@mkdir -p $$(@D)
	$$(MACOS_CC) -target $(macos_$(1)) $$(MACOS_CFLAGS) -D_DARWIN_C_SOURCE -Isrc \
	  -isystem $(FETCHED)/sqlite -isystem $(FETCHED)/http-parser $(MACOS_WARN) \
	  $$(MACOS_OPTIMISE) -MMD -MP -c -o $$@ $$<
$(BUILD)/cross/macos-$(1)/sqlite3.o: $(BUILD)/cross/sqlite3.c scripts/systems.mk
	@mkdir -p $$(@D)
	$$(MACOS_CC) -target $(macos_$(1)) $$(MACOS_CFLAGS) $$(SQLITE_CFLAGS) \
	  $$(subst -O2,-Os,$$(MACOS_OPTIMISE)) -w -c -o $$@ $$<
$(BUILD)/cross/macos-$(1)/http_parser.o: $(FETCHED)/http-parser/http_parser.c
	@mkdir -p $$(@D)
	$$(MACOS_CC) -target $(macos_$(1)) $$(MACOS_CFLAGS) $$(MACOS_OPTIMISE) -w -c -o $$@ $$<
$(BUILD)/macos/craftd-$(1): $$(call objects,cross/macos-$(1),$$(MACOS_SOURCES) \
  sqlite3.c http_parser.c)
	@mkdir -p $$(@D)
	$$(MACOS_CC) -target $(macos_$(1)) -s -Wl,-dead_strip -o $$@ $$^
endef
$(foreach arch,$(MACOS_ARCHES),$(eval $(call macos_rules,$(arch))))

.PHONY: macos
macos: $(addprefix $(BUILD)/macos/craftd-,$(MACOS_ARCHES))

# `make systems`: what differs by system, compiled as for each of the BSDs. Their
# headers are not packaged here: those of Linux stand in for them, with
# tests/support/bsd.h for what Linux does not have.
SYSTEM_FILES = $(sort $(shell grep -lE '__linux__|BSD__|__APPLE__' $(SOURCES)) \
  src/reactor/kqueue.c src/sys/sync.c)
.PHONY: systems
systems:
	@for system in FreeBSD NetBSD OpenBSD; do for file in $(SYSTEM_FILES); do \
	  $(CLANG) -std=c11 -D_DEFAULT_SOURCE -Isrc -isystem tests/support/kqueue \
	    -U__linux__ -D__$${system}__ -include tests/support/bsd.h -Wall -Wextra \
	    -Werror -fsyntax-only $$file || exit 1; done; done
