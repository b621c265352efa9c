package proxy

import "errors"

func SidecarMain([]string) error { return errors.New("todo") }
