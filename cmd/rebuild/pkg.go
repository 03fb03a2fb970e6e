package main

import "github.com/spf13/cobra"

// pkgCommand holds what authors, users and mirrors of packages do. Each verb
// has a file of its own.
func (a *app) pkgCommand() *cobra.Command {
	c := &cobra.Command{Use: "pkg", Short: "Build, publish, verify, lock and pull packages"}
	c.AddCommand(
		// One line for each verb.
		a.pkgYankCommand(),
		a.pkgBuildCommand(),
		a.pkgPublishCommand(),
		a.pkgFilesCommand(),
		a.pkgVerifyCommand(),
		a.pkgLockCommand(),
		a.pkgPullCommand(),
		a.pkgMirrorCommand(),
		a.pkgExportsCommand(),
		a.pkgCheckSemverCommand(),
	)
	return c
}
