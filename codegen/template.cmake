# Embeds the attention template and writes template_list.h: one TEMPLATE(symbol, "path", bytes) a file, sorted by path, and the
# joint hash of paths and bytes, KERNEL_TEMPLATE_HASH.
include(${CMAKE_SOURCE_DIR}/cmake/embed.cmake)
include(${CMAKE_SOURCE_DIR}/cmake/template_hash.cmake)
set(kernels ${CMAKE_SOURCE_DIR}/kernels)
kvc_template_hash(template_files template_hash)
set(template_list "")
foreach(path ${template_files})
  string(MAKE_C_IDENTIFIER "embedded_${path}" symbol)
  kvc_embed(kvc_codegen ${symbol} ${kernels}/${path})
  file(SIZE ${kernels}/${path} bytes)
  string(APPEND template_list "TEMPLATE(${symbol}, \"${path}\", ${bytes})\n")
endforeach()
string(APPEND template_list "#define KERNEL_TEMPLATE_HASH \"${template_hash}\"\n")
file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/template/template_list.h CONTENT "${template_list}" @ONLY)
set_source_files_properties(${CMAKE_CURRENT_SOURCE_DIR}/kernel_template.c PROPERTIES
  INCLUDE_DIRECTORIES ${CMAKE_CURRENT_BINARY_DIR}/template)
