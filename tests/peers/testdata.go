package main

import "embed"

// tour is the mesh of the smoke run: two clusters, two networks.
//
//go:embed testdata/tour
var tour embed.FS
