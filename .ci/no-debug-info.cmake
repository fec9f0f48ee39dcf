# The libraries in C are compiled without debug information, which nobody reads here and which takes time.
set(CMAKE_C_FLAGS_DEBUG "" CACHE STRING "")
