package proxy

import "errors"

func GatewayMain([]string) error { return errors.New("todo") }
func SidecarMain([]string) error { return errors.New("todo") }
