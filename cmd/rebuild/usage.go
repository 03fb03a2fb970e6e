package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"rebuild/internal/fault"
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
	e := fault.New(fault.Usage, "%s", first)
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
