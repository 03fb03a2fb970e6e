package surface

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Libraries are compiled here from C, by the compiler that building the program
// itself needs (scripts/deps.sh installs it).

// library is a package with one shared library.
type library struct {
	header  string // include/shape.h
	private string // private.h, which is not installed
	source  string
	script  string // version script, "" = none
	soname  string
	flags   []string
	files   map[string]string // others of the package; those below bin are executable
	links   map[string]string
	meta    Metadata
}

const baseHeader = `/* shape.h: shapes. */
#ifndef SHAPE_H
#define SHAPE_H
#include <stddef.h>
#include <stdarg.h>
#define SHAPE_MAX 10
#define SHAPE_FLAG (1 << 2)

typedef struct shape shape;
typedef unsigned long shape_size;
typedef int (*shape_visit)(const shape *, void *data);

enum shape_kind { SHAPE_CIRCLE, SHAPE_SQUARE = 4 };

struct shape_point { int x; int y; };

struct shape_box {
	struct shape_point from, to;
	const char *label;
	unsigned filled : 1, depth : 5;
	struct { short a, b; } inner;
	union { int i; float f; } value;
	int grid[2][3];
	void (*draw)(struct shape_box *, double);
	struct shape_box *next;
};

typedef struct { long id; } shape_id;

extern const int shape_version;
extern int shape_table[4];

shape *shape_new(const char *name, enum shape_kind kind);
void shape_free(shape *s);
struct shape_point shape_move(struct shape_point p, int dx, int dy);
int shape_each(shape_visit visit, void *data);
shape_size shape_area(const struct shape_box *box);
int shape_log(const char *format, ...);
shape_id shape_identify(const shape *s);
void shape_weak(void);
#endif
`

const basePrivate = `struct shape { int secret; struct shape *next; };
struct shape_point;
`

const baseSource = `#include "shape.h"
#include "private.h"
const int shape_version = 3;
int shape_table[4] = { 1, 2, 3, 4 };
static struct shape only;
static struct shape_box one;
static int helper(struct shape *s) { return s->secret; }
shape *shape_new(const char *name, enum shape_kind kind) { only.secret = kind + (name != 0); return &only; }
void shape_free(shape *s) { s->secret = helper(s); }
struct shape_point shape_move(struct shape_point p, int dx, int dy) { p.x += dx; p.y += dy; return p; }
int shape_each(shape_visit visit, void *data) { return visit(&only, data); }
shape_size shape_area(const struct shape_box *box) { return box->from.x + one.to.y; }
int shape_log(const char *format, ...) { return format[0]; }
shape_id shape_identify(const shape *s) { shape_id id = { s->secret }; return id; }
__attribute__((weak)) void shape_weak(void) { }
`

func base() library {
	return library{header: baseHeader, private: basePrivate, source: baseSource, soname: "libshape.so.1", flags: []string{"-g", "-O2"},
		files: map[string]string{
			"lib/pkgconfig/shape.pc": "prefix=/usr\nlibdir=${prefix}/lib\n\nName: shape\nVersion: 1.2.0\nRequires: zlib >= 1.2\nLibs: -L${libdir} -lshape -lm\nCflags: -I${prefix}/include -DSHAPE\n",
			"bin/shapes":             "#!/bin/sh\necho shapes\n",
		},
	}
}

// edit replaces text of the header and the source; each must be there.
func edit(t testing.TB, l library, pairs ...string) library {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(l.header+l.source+l.private, pairs[i]) {
			t.Fatalf("nothing to edit: %q", pairs[i])
		}
		l.header = strings.ReplaceAll(l.header, pairs[i], pairs[i+1])
		l.source = strings.ReplaceAll(l.source, pairs[i], pairs[i+1])
		l.private = strings.ReplaceAll(l.private, pairs[i], pairs[i+1])
	}
	return l
}

func compiler(t testing.TB) string {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		if os.Getenv("REBUILD_REQUIRE_ENGINE") == "" {
			t.Skip("needs gcc, which building the program needs too: sh scripts/deps.sh")
		}
		t.Fatal("needs gcc: sh scripts/deps.sh")
	}
	return gcc
}

func writeFile(t testing.TB, dir, name, content string) {
	t.Helper()
	p := filepath.Join(dir, name)
	mode := fs.FileMode(0o644)
	if strings.HasPrefix(name, "bin/") {
		mode = 0o755
	}
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// build compiles the package into a folder and returns that.
func (l library) build(t testing.TB) string {
	t.Helper()
	gcc := compiler(t)
	src, out := t.TempDir(), t.TempDir()
	writeFile(t, src, "shape.h", l.header)
	writeFile(t, src, "private.h", l.private)
	writeFile(t, src, "shape.c", l.source)
	writeFile(t, out, "include/shape.h", l.header)
	for name, content := range l.files {
		writeFile(t, out, name, content)
	}
	args := append([]string{"-shared", "-fPIC", "-nostdlib", "-w", "-o", filepath.Join(out, "lib/libshape.so.1.0")}, l.flags...)
	if l.soname != "" {
		args = append(args, "-Wl,-soname,"+l.soname)
	}
	if l.script != "" {
		writeFile(t, src, "shape.map", l.script)
		args = append(args, "-Xlinker", "--version-script="+filepath.Join(src, "shape.map"))
	}
	if err := os.MkdirAll(filepath.Join(out, "lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	if text, err := exec.Command(gcc, append(args, filepath.Join(src, "shape.c"))...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	links := map[string]string{"lib/libshape.so": "libshape.so.1.0"}
	for name, target := range l.links {
		links[name] = target
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(out, name)); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// side reads a folder the way the command does.
func sideOf(t testing.TB, dir string, meta Metadata) Side {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	tree, err := Scan(root.FS())
	if err != nil {
		t.Fatal(err)
	}
	exports, err := Extract(tree, meta)
	if err != nil {
		t.Fatal(err)
	}
	return Side{Exports: roundTrip(t, exports), Tree: tree}
}

// roundTrip wants a document to survive being written and read.
func roundTrip(t testing.TB, e *Exports) *Exports {
	t.Helper()
	data, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode(File, data)
	if err != nil {
		var cause error = err
		for errors.Unwrap(cause) != nil {
			cause = errors.Unwrap(cause)
		}
		t.Fatalf("%v\n%s", cause, data)
	}
	return again
}

// lines are findings without their messages.
func lines(all []Finding) []string {
	out := []string{}
	for _, f := range all {
		out = append(out, string(f.Level)+" "+f.Kind+" "+f.Subject)
	}
	return out
}
