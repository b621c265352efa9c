package main

import "embed"

// tour is the mesh of the smoke test: two clusters, two networks.
//
//go:embed testdata/tour
var tour embed.FS
