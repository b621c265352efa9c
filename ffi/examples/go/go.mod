module sidestep.example/request

go 1.21
