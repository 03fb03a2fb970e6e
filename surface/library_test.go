package surface

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// Each case is a change to the library that people make, and everything that it
// must be reported as. A case without findings is a change that must not alarm.
func TestLibraries(t *testing.T) {
	t.Parallel()
	type change struct {
		name  string
		old   func(l library) library
		edits []string
		with  func(l library) library
		want  []string
	}
	flags := func(f ...string) func(library) library {
		return func(l library) library { l.flags = f; return l }
	}
	file := func(name, from, to string) func(library) library {
		return func(l library) library {
			l.files = maps.Clone(l.files)
			if !strings.Contains(l.files[name], from) {
				panic(from)
			}
			l.files[name] = strings.Replace(l.files[name], from, to, 1)
			if to == "-" {
				delete(l.files, name)
			}
			return l
		}
	}
	script := func(s string) func(library) library {
		return func(l library) library { l.script = s; return l }
	}
	const v1 = "V1 { global: shape_*; local: *; };"
	cases := []change{
		// Nothing that anyone could notice.
		{name: "the same"},
		{name: "not optimised", with: flags("-g", "-O0")},
		{name: "optimised for size, with link time optimisation", with: flags("-g", "-Os", "-flto")},
		{name: "DWARF 4", with: flags("-g", "-gdwarf-4", "-O1")},
		{name: "DWARF 3", with: flags("-g", "-gdwarf-3", "-gstrict-dwarf")},
		{name: "compressed debug information", with: flags("-g", "-gz")},
		{name: "type units", with: flags("-g", "-fdebug-types-section"), want: []string{"unchecked unchecked lib/libshape"}},
		{name: "a comment", edits: []string{"/* shape.h: shapes. */", "/* shape.h: all about shapes,\n   and int shape_secret(void); */"}},
		{name: "a parameter has another name", edits: []string{"int dx, int dy", "int by_x, int by_y", "p.x += dx; p.y += dy", "p.x += by_x; p.y += by_y"}},
		{name: "declarations in another order", edits: []string{"void shape_free(shape *s);\n", "", "shape_id shape_identify(const shape *s);\n", "shape_id shape_identify(const shape *s);\nvoid shape_free(shape *s);\n"}},
		{name: "a private struct grew", edits: []string{"struct shape { int secret;", "struct shape { long more; int secret;"}},
		{name: "a static function changed", edits: []string{"static int helper(struct shape *s) { return", "static long helper(struct shape *s) { return 1 +", "helper(s);", "(int)helper(s);"}},
		{name: "a typedef for the same type", edits: []string{"int shape_log(const char *format", "typedef const char *shape_text;\nint shape_log(shape_text format"}, want: []string{"addition export_added typedef shape_text"}},
		{name: "an equal base type", edits: []string{"typedef unsigned long shape_size;", "typedef size_t shape_size;"}},
		{name: "const of a parameter itself", edits: []string{"int dx, int dy", "const int dx, int dy"}},
		{name: "weak became strong", edits: []string{"__attribute__((weak)) ", ""}},
		{name: "a longer file name", with: func(l library) library { l.links = map[string]string{"lib/libshape.so.1": "libshape.so.1.0"}; return l }},

		// Symbols.
		{name: "a function is gone", edits: []string{"void shape_free(shape *s);\n", "", "void shape_free(shape *s) { s->secret = helper(s); }\n", ""},
			want: []string{"breaking export_removed lib/libshape: shape_free"}},
		{name: "a function became hidden", edits: []string{"void shape_free(shape *s) {", "__attribute__((visibility(\"hidden\"))) void shape_free(shape *s) {"},
			want: []string{"breaking export_removed lib/libshape: shape_free"}},
		{name: "a weak function is gone", edits: []string{"void shape_weak(void);\n", "", "__attribute__((weak)) void shape_weak(void) { }\n", ""},
			want: []string{"risk weak_removed lib/libshape: shape_weak"}},
		{name: "a function is new", edits: []string{"void shape_weak(void);\n", "void shape_weak(void);\nint shape_count(void);\n", "int shape_version = 3;", "int shape_version = 3;\nint shape_count(void) { return 1; }"},
			want: []string{"addition export_added lib/libshape: shape_count"}},
		{name: "an object is gone", edits: []string{"extern const int shape_version;\n", "", "const int shape_version = 3;\n", ""},
			want: []string{"breaking export_removed lib/libshape: shape_version"}},
		{name: "an object grew", edits: []string{"shape_table[4]", "shape_table[8]"},
			want: []string{"breaking export_signature_changed lib/libshape: shape_table", "breaking object_size_changed lib/libshape: shape_table"}},
		{name: "an object became a function", edits: []string{"extern const int shape_version;", "int shape_version(void);", "const int shape_version = 3;", "int shape_version(void) { return 3; }"},
			want: []string{"breaking symbol_type_changed lib/libshape: shape_version"}},
		{name: "not declared any more", edits: []string{"void shape_free(shape *s);\n", ""}, want: []string{"risk declaration_removed shape_free"}},
		{name: "another SONAME", with: func(l library) library { l.soname = "libshape.so.2"; return l }, want: []string{"breaking soname_changed lib/libshape"}},
		{name: "no SONAME", with: func(l library) library { l.soname = ""; return l }, want: []string{"breaking soname_changed lib/libshape"}},
		{name: "needs another library", with: func(l library) library {
			l.flags = append(slices.Clone(l.flags), "-Wl,--no-as-needed", "-lc")
			return l
		}, want: []string{"risk needed_changed lib/libshape"}},

		// Versions of symbols.
		{name: "versions were added", with: script(v1)},
		{name: "versions are gone", old: script(v1), want: all("breaking symbol_version_removed lib/libshape: %s@@V1")},
		{name: "another version", old: script(v1), with: script("V2 { global: shape_*; local: *; };"), want: slices.Concat(
			all("breaking symbol_version_removed lib/libshape: %s@@V1"), all("addition export_added lib/libshape: %s@@V2"))},
		{name: "the old version is kept, and has its old signature", old: script(v1), with: script("V1 { global: shape_*; local: *; }; V2 { } V1;"), edits: []string{
			"int shape_log(const char *format, ...) { return format[0]; }",
			"__attribute__((symver(\"shape_log@V1\"))) int log_1(const char *format, ...) { return format[0]; }\n__attribute__((symver(\"shape_log@@V2\"))) int log_2(long level) { return level; }",
			"int shape_log(const char *format, ...);", "int shape_log(long level);"},
			want: []string{"addition export_added lib/libshape: shape_log@@V2"}},
		{name: "only the old version is kept", old: script(v1), with: script("V1 { global: shape_*; local: *; };"), edits: []string{
			"int shape_log(const char *format, ...) { return format[0]; }",
			"__attribute__((symver(\"shape_log@V1\"))) int log_1(const char *format, ...) { return format[0]; }"},
			want: []string{"risk default_version_removed lib/libshape: shape_log"}},

		// Signatures.
		{name: "a parameter more", edits: []string{"int shape_each(shape_visit visit, void *data)", "int shape_each(shape_visit visit, void *data, int flags)"},
			want: []string{"breaking export_signature_changed lib/libshape: shape_each"}},
		{name: "a wider parameter", edits: []string{"int dx, int dy", "long dx, int dy"}, want: []string{"breaking export_signature_changed lib/libshape: shape_move"}},
		{name: "unsigned", edits: []string{"int dx, int dy", "unsigned dx, int dy"}, want: []string{"breaking export_signature_changed lib/libshape: shape_move"}},
		{name: "another result", edits: []string{"int shape_log(const", "long shape_log(const"}, want: []string{"breaking export_signature_changed lib/libshape: shape_log"}},
		{name: "no result", edits: []string{"int shape_log(const char *format, ...) { return format[0]; }", "void shape_log(const char *format, ...) { }", "int shape_log(const char *format, ...);", "void shape_log(const char *format, ...);"},
			want: []string{"breaking export_signature_changed lib/libshape: shape_log"}},
		{name: "no longer variadic", edits: []string{"shape_log(const char *format, ...)", "shape_log(const char *format)"}, want: []string{"breaking export_signature_changed lib/libshape: shape_log"}},
		{name: "a parameter is const now", edits: []string{"void shape_free(shape *s)", "void shape_free(const shape *s)", "s->secret = helper(s)", "(void)s"},
			want: []string{"risk qualifier_changed lib/libshape: shape_free"}},
		{name: "a callback gets more", edits: []string{"shape_visit)(const shape *, void *data)", "shape_visit)(const shape *, void *data, int)", "visit(&only, data)", "visit(&only, data, 1)"},
			want: []string{"breaking export_signature_changed lib/libshape: shape_each", "breaking export_signature_changed typedef shape_visit"}},
		{name: "a typedef is wider", edits: []string{"typedef unsigned long shape_size;", "typedef unsigned int shape_size;"},
			want: []string{"breaking export_signature_changed lib/libshape: shape_area", "breaking export_signature_changed typedef shape_size"}},

		// Layouts.
		{name: "a member more", edits: []string{"struct shape_point { int x; int y; };", "struct shape_point { int x; int y; int z; };"},
			want: []string{"breaking struct_layout_changed struct shape_box", "breaking struct_layout_changed struct shape_point"}},
		{name: "members swapped", edits: []string{"{ int x; int y; }", "{ int y; int x; }"}, want: []string{"breaking struct_layout_changed struct shape_point"}},
		{name: "a member has another name", edits: []string{"const char *label;", "const char *title;"}, want: []string{"breaking struct_layout_changed struct shape_box"}},
		{name: "a wider bit field", edits: []string{"depth : 5", "depth : 6"}, want: []string{"breaking struct_layout_changed struct shape_box"}},
		{name: "a bit field in free bits", edits: []string{"depth : 5", "depth : 5, more : 2"}, want: []string{"risk member_added struct shape_box"}},
		{name: "a nameless struct in a struct", edits: []string{"short a, b;", "short b, a;"}, want: []string{"breaking struct_layout_changed struct shape_box"}},
		{name: "a nameless union in a struct", edits: []string{"int i; float f;", "int i; unsigned f;"}, want: []string{"breaking struct_layout_changed struct shape_box"}},
		{name: "an array of another shape", edits: []string{"int grid[2][3]", "int grid[3][2]"}, want: []string{"breaking struct_layout_changed struct shape_box"}},
		{name: "a function pointer in a struct", edits: []string{"struct shape_box *, double)", "struct shape_box *, float)"}, want: []string{"breaking struct_layout_changed struct shape_box"}},
		{name: "a struct that only a typedef names", edits: []string{"typedef struct { long id; } shape_id;", "typedef struct { int id; } shape_id;"}, want: []string{"breaking struct_layout_changed struct shape_id"}},
		{name: "packed", edits: []string{"struct shape_box *next;\n};", "struct shape_box *next;\n} __attribute__((packed));"}, want: []string{"breaking struct_layout_changed struct shape_box"}},
		{name: "an enumerator more", edits: []string{"SHAPE_SQUARE = 4 ", "SHAPE_SQUARE = 4, SHAPE_STAR "}, want: []string{"addition enumerator_added enum shape_kind"}},
		{name: "an enumerator of another value", edits: []string{"SHAPE_SQUARE = 4 ", "SHAPE_SQUARE = 5 "}, want: []string{"breaking enum_changed enum shape_kind"}},
		{name: "an enumerator is gone", edits: []string{"SHAPE_CIRCLE, SHAPE_SQUARE = 4", "SHAPE_SQUARE = 4"}, want: []string{"breaking enum_changed enum shape_kind"}},
		{name: "a struct became opaque", edits: []string{"struct shape_point { int x; int y; };", "struct shape_point { int x; int y; };\nstruct shape_pen;\nvoid shape_pen_up(struct shape_pen *p);\n",
			"struct shape_point;\n", "struct shape_pen { int up; };\n", "int shape_version = 3;", "int shape_version = 3;\nvoid shape_pen_up(struct shape_pen *p) { p->up = 1; }"},
			old: func(l library) library {
				return edit(t, l, "struct shape_point { int x; int y; };", "struct shape_point { int x; int y; };\nstruct shape_pen { int up; };\nvoid shape_pen_up(struct shape_pen *p);\n",
					"int shape_version = 3;", "int shape_version = 3;\nvoid shape_pen_up(struct shape_pen *p) { p->up = 1; }")
			},
			want: []string{"breaking struct_layout_changed struct shape_pen"}},
		{name: "a private struct by value", edits: []string{"struct shape { int secret;", "struct shape { long secret;"},
			old: func(l library) library {
				return edit(t, l, "void shape_weak(void);\n", "void shape_weak(void);\nstruct shape_copy;\n", "shape_free(shape *s) { s->secret = helper(s); }", "shape_free(shape *s) { s->secret = helper(s); }\nshape shape_copy(shape *s) { return *s; }")
			},
			want: []string{"breaking export_removed lib/libshape: shape_copy", "risk type_not_seen struct shape"}},

		// Without debug information.
		{name: "stripped", with: flags("-O2"), want: []string{"unchecked unchecked lib/libshape"}},
		{name: "both stripped, a function gone", old: flags("-O2"), with: flags("-O2"), edits: []string{"void shape_free(shape *s) {", "__attribute__((visibility(\"hidden\"))) void shape_free(shape *s) {"},
			want: []string{"breaking export_removed lib/libshape: shape_free", "unchecked unchecked lib/libshape"}},
		{name: "assembly", edits: []string{"int shape_log(const char *format, ...) { return format[0]; }", "__asm__(\".globl shape_log\\n.type shape_log,@function\\nshape_log: ret\\n.size shape_log,1\\n\");"},
			want: []string{"unchecked unchecked lib/libshape"}},

		// Headers, pkg-config, commands.
		{name: "a macro changed", edits: []string{"#define SHAPE_MAX 10", "#define SHAPE_MAX 20"}, want: []string{"risk macro_changed include/shape.h: SHAPE_MAX"}},
		{name: "a macro is gone", edits: []string{"#define SHAPE_MAX 10\n", ""}, want: []string{"risk macro_removed include/shape.h: SHAPE_MAX"}},
		{name: "a macro is new", edits: []string{"#define SHAPE_MAX 10\n", "#define SHAPE_MAX 10\n#define SHAPE_MIN 1\n"}, want: []string{"addition macro_added include/shape.h: SHAPE_MIN"}},
		{name: "a macro with other blanks", edits: []string{"(1 << 2)", "(1  <<\t2) /* four */"}},
		{name: "a header more", with: func(l library) library { l.files = with(l.files, "include/more.h", "int more;\n"); return l }, want: []string{"addition header_added include/more.h"}},
		{name: "a header less", old: func(l library) library { l.files = with(l.files, "include/more.h", "int more;\n"); return l }, with: func(l library) library { return l },
			want: []string{"breaking header_removed include/more.h"}},
		{name: "a command is gone", with: file("bin/shapes", "#!", "-"), want: []string{"breaking command_removed shapes"}},
		{name: "a command is new", with: func(l library) library { l.files = with(l.files, "bin/more", "#!/bin/sh\n"); return l }, want: []string{"addition command_added more"}},
		{name: "a command of another interpreter", with: file("bin/shapes", "/bin/sh", "/usr/bin/perl"), want: []string{"risk interpreter_changed shapes"}},
		{name: "pkg-config is gone", with: file("lib/pkgconfig/shape.pc", "prefix", "-"), want: []string{"breaking pkgconfig_removed shape"}},
		{name: "pkg-config links less", with: file("lib/pkgconfig/shape.pc", " -lm", ""), want: []string{"breaking pkgconfig_changed shape: Libs"}},
		{name: "pkg-config defines less", with: file("lib/pkgconfig/shape.pc", " -DSHAPE", ""), want: []string{"breaking pkgconfig_changed shape: Cflags"}},
		{name: "pkg-config requires more", with: file("lib/pkgconfig/shape.pc", "zlib >= 1.2", "zlib >= 1.2, png"), want: []string{"risk pkgconfig_requirement shape"}},
		{name: "pkg-config of another prefix", with: file("lib/pkgconfig/shape.pc", "prefix=/usr", "prefix=/opt")},
		{name: "pkg-config of an older version", with: file("lib/pkgconfig/shape.pc", "1.2.0", "1.1.9"), want: []string{"risk pkgconfig_version shape"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			old := base()
			if c.old != nil {
				old = c.old(old)
			}
			next := edit(t, base(), c.edits...)
			if c.with != nil {
				next = c.with(next)
			}
			found := Compare(sideOf(t, old.build(t), old.meta), sideOf(t, next.build(t), next.meta))
			want := slices.Sorted(slices.Values(c.want))
			if got := slices.Sorted(slices.Values(lines(found))); !slices.Equal(got, want) {
				t.Errorf("found\n  %s\nwant\n  %s", strings.Join(texts(found), "\n  "), strings.Join(want, "\n  "))
			}
		})
	}
	if len(cases) < 40 {
		t.Errorf("only %d cases", len(cases))
	}
}

// all makes a line for every symbol of the library.
func all(format string) []string {
	var out []string
	for _, name := range []string{"area", "each", "free", "identify", "log", "move", "new", "table", "version", "weak"} {
		out = append(out, strings.Replace(format, "%s", "shape_"+name, 1))
	}
	return out
}

func with(files map[string]string, name, content string) map[string]string {
	files = maps.Clone(files)
	files[name] = content
	return files
}

func texts(all []Finding) []string {
	return mapped(all, Finding.String)
}
