# Embeds the attention template and writes template_list.h: one TEMPLATE(symbol, "path", bytes) a file, sorted by path, and the
# joint hash of paths and bytes, KERNEL_TEMPLATE_HASH.
include(${CMAKE_SOURCE_DIR}/cmake/embed.cmake)
set(kernels ${CMAKE_SOURCE_DIR}/kernels)
file(GLOB template_files CONFIGURE_DEPENDS RELATIVE ${kernels} ${kernels}/device.cuh ${kernels}/fragment/*.cuh
  ${kernels}/template/*.cuh ${kernels}/template/*.cu ${kernels}/template/*.h)
list(SORT template_files)
set(template_list "")
set(template_sums "")
foreach(path ${template_files})
  string(MAKE_C_IDENTIFIER "embedded_${path}" symbol)
  kvc_embed(kvc_codegen ${symbol} ${kernels}/${path})
  file(SIZE ${kernels}/${path} bytes)
  file(SHA256 ${kernels}/${path} hash)
  string(APPEND template_list "TEMPLATE(${symbol}, \"${path}\", ${bytes})\n")
  string(APPEND template_sums "${hash}  ${path}\n")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${kernels}/${path}) # its size and hash are in the list
endforeach()
string(SHA256 template_hash "${template_sums}")
string(APPEND template_list "#define KERNEL_TEMPLATE_HASH \"${template_hash}\"\n")
file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/template/template_list.h CONTENT "${template_list}" @ONLY)
set_source_files_properties(${CMAKE_CURRENT_SOURCE_DIR}/kernel_template.c PROPERTIES
  INCLUDE_DIRECTORIES ${CMAKE_CURRENT_BINARY_DIR}/template)
