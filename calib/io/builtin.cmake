# Embeds configs/prompts/* and writes builtin_list.h: one BUILTIN(symbol, "name", bytes) a file, sorted by name.
file(GLOB builtin_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/configs/prompts/*.txt
  ${CMAKE_SOURCE_DIR}/configs/prompts/*.jsonl)
list(SORT builtin_files)
set(builtin_list "")
foreach(file ${builtin_files})
  get_filename_component(name ${file} NAME)
  string(MAKE_C_IDENTIFIER "embedded_prompt_${name}" symbol)
  kvc_embed(kvc_io ${symbol} ${file})
  file(SIZE ${file} bytes)
  string(APPEND builtin_list "BUILTIN(${symbol}, \"${name}\", ${bytes})\n")
endforeach()
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${builtin_files}) # their sizes are in the list
file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/builtin/builtin_list.h CONTENT "${builtin_list}" @ONLY)
set_source_files_properties(${CMAKE_CURRENT_SOURCE_DIR}/builtin.c PROPERTIES
  INCLUDE_DIRECTORIES ${CMAKE_CURRENT_BINARY_DIR}/builtin)
