// Sends a request from Go: net/http with a DialContext that calls libsidestep through cgo.
//
//	request VM-FILES [HOST PORT [PATH]]
//	CGO_CFLAGS=$(pkg-config --cflags sidestep) CGO_LDFLAGS=$(pkg-config --libs sidestep) go build
//
// The mesh runs in this process. No other process is needed.
package main

/*
#include <stdlib.h>
#include <sidestep.h>
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
	"unsafe"
)

// Mesh is a mesh that this process has joined.
type Mesh struct{ handle *C.sidestep_mesh }

// Error is the reason why a call failed.
type Error struct {
	Status            int // SIDESTEP_E_... of sidestep.h
	IsTransient       bool
	Message, NextStep string
}

func (err *Error) Error() string { return err.Message }

// StatusName returns the name of the status, such as "SIDESTEP_E_TIMEOUT".
func (err *Error) StatusName() string {
	return C.GoString(C.sidestep_status_name(C.sidestep_status(err.Status)))
}

func failure(status C.sidestep_status, err *C.sidestep_error) error {
	if status == C.SIDESTEP_OK {
		return nil
	}
	defer C.sidestep_error_free(err)
	return &Error{
		Status:      int(status),
		IsTransient: C.sidestep_error_is_transient(err) != 0,
		Message:     C.GoString(C.sidestep_error_message(err)),
		NextStep:    C.GoString(C.sidestep_error_next_step(err)),
	}
}

// Join joins a mesh with a directory of VM files.
func Join(vmFiles string, timeout time.Duration) (*Mesh, error) {
	folder := C.CString(vmFiles)
	defer C.free(unsafe.Pointer(folder))
	mesh := &Mesh{}
	var failed *C.sidestep_error
	status := C.sidestep_join_vm_files(folder, &mesh.handle, &failed)
	if err := failure(status, failed); err != nil {
		return nil, err
	}
	status = C.sidestep_wait_ready(mesh.handle, C.int64_t(timeout.Milliseconds()), &failed)
	if err := failure(status, failed); err != nil {
		mesh.Close()
		return nil, err
	}
	return mesh, nil
}

// DialContext connects to an address HOST:PORT. It is for http.Transport with HTTP/1.1.
func (mesh *Mesh) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, err
	}
	timeout := C.int64_t(-1)
	if deadline, ok := ctx.Deadline(); ok {
		timeout = C.int64_t(max(0, time.Until(deadline).Milliseconds()))
	}
	type result struct {
		net.Conn
		error
	}
	connected := make(chan result)
	go func() {
		conn, err := mesh.connect(host, uint16(port), timeout)
		select {
		case connected <- result{conn, err}:
		case <-ctx.Done(): // the caller has stopped waiting
			if err == nil {
				conn.Close()
			}
		}
	}()
	select {
	case made := <-connected:
		return made.Conn, made.error
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (mesh *Mesh) connect(host string, port uint16, timeout C.int64_t) (net.Conn, error) {
	name := C.CString(host)
	defer C.free(unsafe.Pointer(name))
	var fd C.int
	var failed *C.sidestep_error
	status := C.sidestep_connect(mesh.handle, name, C.uint16_t(port), C.SIDESTEP_PROTOCOL_HTTP1, timeout, &fd, &failed)
	if err := failure(status, failed); err != nil {
		return nil, err
	}
	// FileConn duplicates the descriptor.
	file := os.NewFile(uintptr(fd), host)
	defer file.Close()
	return net.FileConn(file)
}

// Close leaves the mesh.
func (mesh *Mesh) Close() { C.sidestep_mesh_free(mesh.handle) }

func run(arguments []string) error {
	if len(arguments) < 2 {
		return errors.New("usage: request VM-FILES [HOST PORT [PATH]]")
	}
	place := []string{"forecast.weather", "3002", "/"}
	copy(place, arguments[2:])
	url := "http://" + net.JoinHostPort(place[0], place[1]) + place[2]
	mesh, err := Join(arguments[1], 30*time.Second)
	if err != nil {
		return err
	}
	defer mesh.Close()
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DialContext: mesh.DialContext}}
	defer client.CloseIdleConnections()
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	fmt.Println(answer.Status)
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}

func main() {
	if err := run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
