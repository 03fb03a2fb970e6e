package spdx_test

import (
	"strings"
	"testing"

	"rebuild/internal/fault"
	"rebuild/internal/spdx"
)

// A3: what SPDX calls an expression passes, and nothing else.
func TestA3Expressions(t *testing.T) {
	for _, s := range []string{
		"MIT", "mit", "0BSD", "Apache-2.0+", "GPL-2.0-or-later WITH Classpath-exception-2.0", "MIT OR Apache-2.0",
		"(MIT)", "(MIT AND (ISC OR Zlib)) OR BSD-3-Clause", "LicenseRef-ours", "DocumentRef-x.1:LicenseRef-y", "GPL-2.0", "GPL-2.0+",
		strings.Repeat("(", 32) + "MIT" + strings.Repeat(")", 32), "LGPL-2.1-only  AND\tMIT",
	} {
		if err := spdx.Check(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for s, says := range map[string]string{
		"": "is missing", " ": "is missing", "MIT OR": "is missing", "OR MIT": "'OR' is no license", "MIT or ISC": "after 'MIT' comes 'or'",
		"MIT ISC": "after 'MIT' comes 'ISC'", "(MIT": "not closed", "MIT)": "comes ')'", "()": "no license", "Proprietary": "'Proprietary' is no license",
		"MIT WITH": "'' is no exception", "MIT WITH ISC": "no exception", "MIT/Apache-2.0": "no license", "LicenseRef-": "no license", "+": "no license",
		"MIT++": "no license", "LicenseRef-a b": "comes 'b'", "MIT WITH Classpath-exception-2.0 WITH GCC-exception-3.1": "comes 'WITH'",
		strings.Repeat("(", 33) + "MIT" + strings.Repeat(")", 33): "too deeply", strings.Repeat("MIT OR ", 1000) + "MIT": "is missing",
	} {
		err := spdx.Check(s)
		if fault.CodeOf(err) != fault.PkgLicenseNotSPDX || !strings.Contains(err.Error(), says) {
			t.Errorf("%.60q: %v, want %q", s, err, says)
		}
	}
}

// Two expressions joined are one, and no text makes the parser panic.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{"MIT", "(MIT OR ISC) AND GPL-2.0-only WITH Classpath-exception-2.0", "LicenseRef-x", "((", "WITH"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		alone := spdx.Check(s) == nil
		if joined := spdx.Check("(" + s + ") OR MIT"); alone && len(s) < 4000 && !strings.Contains(s, strings.Repeat("(", 16)) && joined != nil {
			t.Fatalf("%q alone, but not joined: %v", s, joined)
		}
	})
}
