package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"rebuild/index"
	"rebuild/internal/fault"
	"rebuild/internal/names"
)

// A hint for a typing error is the line that was meant, if one word of it is
// close to one that exists, and the way to the help if not.

// usage turns an error of cobra into one of ours.
func usage(root *cobra.Command, args []string, err error) error {
	found, rest, ferr := root.Find(args)
	if ferr != nil {
		found, rest = root, args
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	if wrong := count(found, rest, err); wrong != nil {
		return wrong
	}
	if wrong := flagged(found, err); wrong != nil {
		return wrong
	}
	e := fault.New(fault.Usage, "%s", first)
	if first == "unknown flag: --version" {
		return e.WithHint("rebuild version")
	}
	if flag, ok := strings.CutPrefix(first, "unknown flag: --"); ok {
		if meant := nearest(flag, flagNames(found)); meant != "" {
			return e.WithHint("%s", corrected(args, "--"+flag, "--"+meant))
		}
	}
	if strings.HasPrefix(first, "unknown command ") && len(rest) > 0 {
		if meant := nearest(rest[0], commandNames(found)); meant != "" {
			return e.WithHint("%s", corrected(args, rest[0], meant))
		}
	}
	return e.WithHint("run %s --help", found.CommandPath())
}

// count says which arguments a command takes, where cobra counts them; nil if
// that is not what is wrong.
func count(c *cobra.Command, rest []string, err error) error {
	_, takes, _ := strings.Cut(c.Use, " ")
	first := err.Error()
	switch {
	case strings.Contains(first, " arg(s), "):
		return fault.New(fault.Usage, "%s takes %s", c.CommandPath(), takes).WithHint("run %s --help", c.CommandPath())
	case strings.HasPrefix(first, "unknown command ") && !c.HasSubCommands() && takes == "" && len(rest) > 0:
		return fault.New(fault.Usage, "%s takes no argument, only flags", c.CommandPath()).WithHint("run %s --help", c.CommandPath())
	}
	return nil
}

// flagged says in our words what is wrong with the flags of a command; nil if
// that is not what is wrong.
func flagged(c *cobra.Command, err error) error {
	var value *pflag.InvalidValueError
	if errors.As(err, &value) {
		f := value.GetFlag()
		want, such := valueOf(f.Value.Type())
		return fault.New(fault.Usage, "--%s %q is not %s", f.Name, value.GetValue(), want).WithHint("give --%s %s", f.Name, such)
	}
	var missing, given []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Annotations[cobra.BashCompOneRequiredFlag] != nil && !f.Changed {
			missing = append(missing, f.Name)
		}
	})
	switch first := err.Error(); {
	case strings.HasPrefix(first, "required flag"):
		e := fault.New(fault.Usage, "no --%s", strings.Join(missing, ", --"))
		for i, name := range missing {
			missing[i] = "--" + name + ", " + c.Flags().Lookup(name).Usage
		}
		return e.WithHint("give %s", strings.Join(missing, "; and "))
	case strings.HasPrefix(first, "if any flags in the group"):
		_, set, _ := strings.Cut(first, "; [")
		set, _, _ = strings.Cut(set, "]")
		for _, name := range strings.Fields(set) {
			given = append(given, "--"+name)
		}
		return fault.New(fault.Usage, "%s exclude each other", strings.Join(given, " and ")).WithHint("give one of them")
	}
	return nil
}

// noEmptyFlag refuses a flag that was given with nothing: most often a variable
// of the shell is unset, and a policy that is not there must not pass for none
// that was wanted.
func noEmptyFlag(c *cobra.Command) (err error) {
	c.Flags().Visit(func(f *pflag.Flag) {
		if f.Value.Type() == "string" && f.Value.String() == "" && err == nil {
			err = fault.New(fault.Usage, "--%s is empty", f.Name).WithHint("give it a value, or leave it out; perhaps a variable of the shell is not set")
		}
	})
	return err
}

// valueOf says what a flag of a type takes, and names one.
func valueOf(kind string) (want, such string) {
	switch kind {
	case "int", "int64":
		return "a whole number", "NUMBER, such as 8"
	case "duration":
		return "a time with its unit", "TIME, such as 90s or 10m"
	case "bool":
		return "true or false", "alone"
	}
	return "what it takes", strings.ToUpper(kind)
}

// atLeastOne refuses a number of things at one time that is none.
func atLeastOne(jobs int) error {
	if jobs < 1 {
		return fault.New(fault.Usage, "--jobs %d: nothing would be done", jobs).WithHint("give --jobs 1, or leave it out")
	}
	return nil
}

// reference splits NAME or NAME@VERSION of a command line.
func reference(text string) (name, version string, err error) {
	if name, version, err = index.SplitReference(text); err != nil {
		return "", "", fault.New(fault.Usage, "%q is not NAME or NAME@VERSION: %w", text, err).WithHint("%s", meant(text))
	}
	return name, version, nil
}

// meant is the hint for what people write instead of NAME or NAME@VERSION.
func meant(text string) string {
	name, version, _ := strings.Cut(text, "@")
	switch {
	case strings.HasSuffix(text, ".rbundle"):
		return "a bundle is judged by: rebuild verify " + text + " --policy policy.toml"
	case strings.HasSuffix(text, ".tar"):
		return "an archive is looked into by: rebuild pkg files " + text
	case names.Package(name) == nil:
		for _, guess := range []string{strings.TrimPrefix(version, "v"), strings.TrimPrefix(version, "v") + ".0", strings.TrimPrefix(version, "v") + ".0.0"} {
			if names.Version(guess) == nil {
				return "write " + name + "@" + guess
			}
		}
		return "write " + name + "@VERSION with three numbers such as 1.0.0, or " + name + " for the newest"
	}
	return "name one package, such as sha256sum@1.0.0"
}

// idle refuses flags that would do nothing in the form in which a command is
// given: who gives one believes that it does.
func idle(c *cobra.Command, form string, names ...string) error {
	for _, name := range names {
		if c.Flags().Changed(name) {
			return fault.New(fault.Usage, "--%s does nothing for %s", name, form).WithHint("leave --%s out", name)
		}
	}
	return nil
}

// refuseUnknown makes every group of commands refuse a word that it does not
// know, where cobra would print the help and call it a success.
func refuseUnknown(c *cobra.Command) {
	for _, sub := range c.Commands() {
		refuseUnknown(sub)
	}
	if c.HasSubCommands() && !c.Runnable() {
		c.Annotations = map[string]string{"group": "true"}
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			return usage(c.Root(), append(strings.Fields(c.CommandPath())[1:], args...),
				fault.New(fault.Usage, "unknown command %q for %q", args[0], c.CommandPath()))
		}
	}
}

// fitHelp leaves out of the help that a group takes flags, and the sentence at
// its end, which the help command says already.
func fitHelp(root *cobra.Command) {
	t := strings.Replace(root.UsageTemplate(), "{{if .Runnable}}", "{{if and .Runnable (not .Annotations.group)}}", 1)
	// The root has a command a line, so its flags get one for all.
	const flags = "{{if .HasAvailableLocalFlags}}"
	t = strings.Replace(t, flags, `{{if not .HasParent}}

Flags, explained by the help of every command:
  --json, --pipeline DIR, --progress MODE, --quiet, --runc FILE, --state DIR{{else if .HasAvailableLocalFlags}}`, 1)
	root.SetUsageTemplate(strings.Replace(t, `{{if .HasAvailableSubCommands}}

Use "{{.CommandPath}} [command] --help" for more information about a command.{{end}}`, "", 1))
}

// corrected is the command line with one word replaced.
func corrected(args []string, from, to string) string {
	line := []string{"rebuild"}
	for _, a := range args {
		word, value, has := strings.Cut(a, "=")
		if word == from {
			word, from = to, "\x00" // once
		}
		if has {
			word += "=" + value
		}
		if strings.ContainsAny(word, " \t\n'\"$&|;<>()*?\\") {
			word = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
		line = append(line, word)
	}
	return strings.Join(line, " ")
}

func flagNames(c *cobra.Command) (names []string) {
	add := func(f *pflag.Flag) { names = append(names, f.Name) }
	c.LocalFlags().VisitAll(add)
	c.InheritedFlags().VisitAll(add)
	return names
}

func commandNames(c *cobra.Command) (names []string) {
	for _, sub := range c.Commands() {
		if !sub.Hidden {
			names = append(names, sub.Name())
		}
	}
	return names
}

// nearest returns the name that is at most two letters away, and fewer than
// half of the word; "" if there is none.
func nearest(word string, names []string) string {
	slices.Sort(names)
	best, found := min(2, (len(word)-1)/2)+1, ""
	for _, n := range names {
		if d := distance(word, n); d < best {
			best, found = d, n
		}
	}
	return found
}

// distance counts the letters to change, add, drop or let change places with
// their neighbour to get from a to b.
func distance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
