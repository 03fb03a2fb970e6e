package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
)

// Mutant is one check that can be switched off.
type Mutant struct {
	Number int
	File   string // slash-separated, from the root of the repository
	Line   int
	Func   string // Name or Type.Name
	Kind   string
	Source string // what is switched off, in one line
}

// The kinds of mutants.
const (
	kindOff   = "off"   // the condition never holds
	kindOn    = "on"    // the condition always holds
	kindTerm  = "term"  // one term of a condition is left out
	kindBound = "bound" // < for <=, > for >=, and the other way
	kindCase  = "case"  // a case of a switch is never taken
	kindCall  = "call"  // a call is left out
	kindItem  = "item"  // an item of a list that is gone through is left out
)

const hook = "rebuild/internal/mutate/mutant"

// file is a source file on its way to one that holds all of its mutants.
type file struct {
	name    string
	src     []byte
	fset    *token.FileSet
	next    *int
	fn      string
	result  string // of the function: "error", "bool" or ""
	mutants []Mutant
	before  map[ast.Stmt]ast.Stmt // the statement before one in its block
	opens   map[int]string        // text before what begins at an offset, outermost first
	closes  map[int]string        // text behind what ends at an offset, innermost first
}

// instrument returns the file with every mutant in it, each off until its
// number is active, and the list of them. Functions for which skip holds stay
// as they are.
func instrument(name string, src []byte, next *int, skip func(fn string) bool) ([]byte, []Mutant, error) {
	f := &file{name: name, src: src, fset: token.NewFileSet(), next: next, before: map[ast.Stmt]ast.Stmt{}, opens: map[int]string{}, closes: map[int]string{}}
	tree, err := parser.ParseFile(f.fset, name, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range tree.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		f.fn = funcName(fn)
		if skip(f.fn) {
			continue
		}
		f.function(fn.Type, fn.Body)
	}
	f.distinct()
	if len(f.mutants) == 0 {
		return src, nil, nil
	}
	f.closes[f.offset(tree.Name.End())] += "; import " + `"` + hook + `"`
	return f.text(), f.mutants, nil
}

func funcName(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return fn.Name.Name
	}
	t := fn.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	switch generic := t.(type) {
	case *ast.IndexExpr:
		t = generic.X
	case *ast.IndexListExpr:
		t = generic.X
	}
	return t.(*ast.Ident).Name + "." + fn.Name.Name
}

func (f *file) offset(p token.Pos) int { return f.fset.Position(p).Offset }

func (f *file) source(from, to token.Pos) string {
	return strings.Join(strings.Fields(string(f.src[f.offset(from):f.offset(to)])), " ")
}

// mutant numbers a new one.
func (f *file) mutant(kind string, at token.Pos, source string) int {
	*f.next++
	f.mutants = append(f.mutants, Mutant{*f.next, f.name, f.fset.Position(at).Line, f.fn, kind, source})
	return *f.next
}

// distinct numbers the mutants of one function that read the same.
func (f *file) distinct() {
	seen := map[[3]string]int{}
	for i := range f.mutants {
		m := &f.mutants[i]
		key := [3]string{m.Func, m.Kind, m.Source}
		if seen[key]++; seen[key] > 1 {
			m.Source += fmt.Sprintf(" #%d", seen[key])
		}
	}
}

func (f *file) wrap(n ast.Node, before, after string) {
	from, to := f.offset(n.Pos()), f.offset(n.End())
	f.opens[from] += before
	f.closes[to] = after + f.closes[to]
}

func (f *file) text() []byte {
	var out bytes.Buffer
	for i := range len(f.src) + 1 {
		out.WriteString(f.closes[i])
		out.WriteString(f.opens[i])
		if i < len(f.src) {
			out.WriteByte(f.src[i])
		}
	}
	return out.Bytes()
}

// function takes the body of a function, and those inside of it, each with
// its own results.
func (f *file) function(t *ast.FuncType, body *ast.BlockStmt) {
	outer := f.result
	f.result = lastResult(t)
	f.tail(t, body)
	f.body(body)
	f.result = outer
	if t.Results != nil && t.Results.NumFields() > 0 {
		// What a switched-off return leads to is no result.
		end := f.offset(body.Rbrace)
		f.opens[end] += `; panic("nothing is returned")` + "\n"
	}
}

func lastResult(t *ast.FuncType) string {
	if t.Results == nil || len(t.Results.List) == 0 {
		return ""
	}
	last, ok := t.Results.List[len(t.Results.List)-1].Type.(*ast.Ident)
	if !ok || last.Name != "error" && last.Name != "bool" {
		return ""
	}
	return last.Name
}

// tail takes the check that a function ends with, where its answer is the
// function's.
func (f *file) tail(t *ast.FuncType, body *ast.BlockStmt) {
	if len(body.List) == 0 || f.result == "" {
		return
	}
	ret, ok := body.List[len(body.List)-1].(*ast.ReturnStmt)
	if !ok || len(ret.Results) == 0 {
		return
	}
	last := ret.Results[len(ret.Results)-1]
	call, ok := last.(*ast.CallExpr)
	if !ok || len(ret.Results) != t.Results.NumFields() || constructor(f.source(call.Fun.Pos(), call.Fun.End())) {
		return
	}
	n := f.mutant(kindCall, call.Pos(), f.source(call.Pos(), call.End()))
	if f.result == "bool" {
		f.wrap(call, fmt.Sprintf("(mutant.Is(%d) || ", n), ")")
		return
	}
	var rest string
	for _, r := range ret.Results[:len(ret.Results)-1] {
		rest += string(f.src[f.offset(r.Pos()):f.offset(r.End())]) + ", "
	}
	f.opens[f.offset(ret.Pos())] += fmt.Sprintf("if mutant.Is(%d) { return %snil }; ", n, rest)
}

// constructor says whether a call makes an error rather than looking for one.
func constructor(callee string) bool {
	name := callee[strings.LastIndexByte(callee, '.')+1:]
	return slices.Contains([]string{"New", "mismatch", "within", "Errorf", "WithHint", "With", "At", "Join", "wrong"}, name)
}

// body walks the statements of a function.
func (f *file) body(n ast.Node) {
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			f.function(n.Type, n.Body)
			return false
		case *ast.BlockStmt:
			f.block(n.List)
		case *ast.CaseClause:
			f.block(n.Body)
		case *ast.IfStmt:
			f.ifStmt(n)
		case *ast.SwitchStmt:
			f.switchStmt(n)
		case *ast.ReturnStmt:
			for _, r := range n.Results {
				if b, ok := ast.Unparen(r).(*ast.BinaryExpr); ok {
					f.condition(b, true, true)
				}
			}
		case *ast.AssignStmt:
			for _, r := range n.Rhs {
				if b, ok := ast.Unparen(r).(*ast.BinaryExpr); ok {
					f.condition(b, true, true)
				}
			}
		case *ast.RangeStmt:
			f.list(n.X)
		}
		return true
	})
}

func (f *file) block(list []ast.Stmt) {
	for i, s := range list {
		if i > 0 {
			f.before[s] = list[i-1]
		}
		e, ok := s.(*ast.ExprStmt)
		if !ok {
			continue
		}
		call, ok := e.X.(*ast.CallExpr)
		if !ok || foreign(f.source(call.Fun.Pos(), call.Fun.End())) {
			continue
		}
		n := f.mutant(kindCall, call.Pos(), f.source(call.Pos(), call.End()))
		f.wrap(e, fmt.Sprintf("if mutant.Not(%d) { ", n), " }")
	}
}

// foreign says whether a call is of no check: sorting, writing text, locking, the
// report of what a check found.
func foreign(callee string) bool {
	of, _, method := strings.Cut(callee, ".")
	if !method {
		return slices.Contains([]string{"delete", "refuse", "panic", "close", "copy", "notice"}, of)
	}
	name := callee[strings.LastIndexByte(callee, '.')+1:]
	return slices.Contains([]string{"slices", "fmt", "maps", "sort", "errors"}, of) ||
		slices.Contains([]string{"WriteString", "WriteByte", "failf", "Reset", "Close", "Lock", "Unlock", "notice"}, name)
}

func (f *file) ifStmt(n *ast.IfStmt) {
	source := f.source(n.Cond.Pos(), n.Cond.End())
	if n.Init != nil {
		source = f.source(n.Init.Pos(), n.Cond.End())
	} else if p := f.before[n]; p != nil && (source == "err != nil" || source == "!ok") {
		source = f.source(p.Pos(), p.End()) + "; " + source
		if len(source) > 160 {
			source = source[:60] + " ... " + source[len(source)-90:]
		}
	}
	allows := allowing(n.Body)
	off := f.mutant(kindOff, n.Pos(), source)
	if allows {
		on := f.mutant(kindOn, n.Pos(), source)
		f.wrap(n.Cond, fmt.Sprintf("mutant.Not(%d) && (mutant.Is(%d) || (", off, on), "))")
	} else {
		f.wrap(n.Cond, fmt.Sprintf("mutant.Not(%d) && (", off), ")")
	}
	f.condition(n.Cond, !allows, allows)
}

// allowing says whether a body is what happens when nothing is wrong: it does
// not leave, or leaves with nil or true, or goes on with the next.
func allowing(body *ast.BlockStmt) bool {
	if len(body.List) == 0 {
		return true
	}
	switch last := body.List[len(body.List)-1].(type) {
	case *ast.BranchStmt:
		return last.Tok == token.CONTINUE
	case *ast.ReturnStmt:
		if len(last.Results) == 0 {
			return true
		}
		id, ok := last.Results[len(last.Results)-1].(*ast.Ident)
		return ok && (id.Name == "nil" || id.Name == "true")
	case *ast.ExprStmt:
		call, ok := last.X.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		return !ok || sel.Sel.Name != "failf"
	}
	return true
}

// condition takes the terms and the bounds of a condition. Of one that
// refuses each term of an or may be missing, of one that allows each term of
// an and.
func (f *file) condition(e ast.Expr, refuses, allows bool) {
	switch e := e.(type) {
	case *ast.ParenExpr:
		f.condition(e.X, refuses, allows)
	case *ast.UnaryExpr:
		if e.Op == token.NOT {
			f.condition(e.X, allows, refuses)
		}
	case *ast.BinaryExpr:
		switch e.Op {
		case token.LOR, token.LAND:
			for _, side := range []ast.Expr{e.X, e.Y} {
				f.term(side, e.Op, refuses, allows)
				f.condition(side, refuses, allows)
			}
		case token.LSS, token.LEQ, token.GTR, token.GEQ:
			f.bound(e)
		}
	}
}

// term wraps a side of an and or an or, unless it is one itself of the same.
func (f *file) term(e ast.Expr, op token.Token, refuses, allows bool) {
	if b, ok := e.(*ast.BinaryExpr); ok && b.Op == op {
		return
	}
	switch {
	case op == token.LOR && refuses:
		n := f.mutant(kindTerm, e.Pos(), f.source(e.Pos(), e.End()))
		f.wrap(e, fmt.Sprintf("(mutant.Not(%d) && (", n), "))")
	case op == token.LAND && allows:
		n := f.mutant(kindTerm, e.Pos(), f.source(e.Pos(), e.End()))
		f.wrap(e, fmt.Sprintf("(mutant.Is(%d) || (", n), "))")
	}
}

// bound makes the equal case of a comparison go the other way.
func (f *file) bound(e *ast.BinaryExpr) {
	x, y := f.source(e.X.Pos(), e.X.End()), f.source(e.Y.Pos(), e.Y.End())
	n := f.mutant(kindBound, e.Pos(), f.source(e.Pos(), e.End()))
	if e.Op == token.LSS || e.Op == token.GTR {
		f.wrap(e, "(", fmt.Sprintf(" || mutant.Is(%d) && %s == %s)", n, x, y))
	} else {
		f.wrap(e, "(", fmt.Sprintf(" && (mutant.Not(%d) || %s != %s))", n, x, y))
	}
}

// switchStmt takes the cases: the conditions of a switch without a tag, the
// bodies of one with it.
func (f *file) switchStmt(n *ast.SwitchStmt) {
	for _, s := range n.Body.List {
		c := s.(*ast.CaseClause)
		if n.Tag == nil {
			for _, e := range c.List {
				m := f.mutant(kindCase, e.Pos(), f.source(e.Pos(), e.End()))
				f.wrap(e, fmt.Sprintf("mutant.Not(%d) && (", m), ")")
				allows := allowing(&ast.BlockStmt{List: c.Body})
				f.condition(e, !allows, allows)
			}
			continue
		}
		if len(c.Body) == 0 {
			continue
		}
		m := f.mutant(kindCase, c.Pos(), f.source(c.Pos(), c.Colon))
		f.opens[f.offset(c.Body[0].Pos())] = fmt.Sprintf("if mutant.Is(%d) { break }; ", m) + f.opens[f.offset(c.Body[0].Pos())]
	}
}

// list takes the items of a list that is gone through where it stands.
func (f *file) list(e ast.Expr) {
	switch e := e.(type) {
	case *ast.CallExpr: // append(list, more...)
		if id, ok := e.Fun.(*ast.Ident); ok && id.Name == "append" {
			f.list(e.Args[0])
		}
	case *ast.CompositeLit:
		f.items(e)
	}
}

func (f *file) items(lit *ast.CompositeLit) {
	if len(lit.Elts) == 0 {
		return
	}
	first := *f.next + 1
	var keys []string
	for _, e := range lit.Elts {
		f.mutant(kindItem, e.Pos(), f.source(e.Pos(), e.End()))
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			keys = append(keys, f.source(kv.Key.Pos(), kv.Key.End()))
		}
	}
	if _, ok := lit.Type.(*ast.MapType); ok {
		f.wrap(lit, fmt.Sprintf("mutant.Map(%d, ", first), ", "+strings.Join(keys, ", ")+")")
		return
	}
	f.wrap(lit, fmt.Sprintf("mutant.List(%d, ", first), "...)")
}
