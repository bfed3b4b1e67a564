# kvc_embed(TARGET SYMBOL FILE): compile FILE's bytes into TARGET as
#     const unsigned char SYMBOL[];  const size_t SYMBOL_size;
# This file is also the script that the build runs: cmake -DINPUT= -DOUTPUT= -DSYMBOL= -P embed.cmake
if(CMAKE_SCRIPT_MODE_FILE)
  file(READ ${INPUT} bytes HEX)
  string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  file(WRITE ${OUTPUT} "#include <stddef.h>
extern const unsigned char ${SYMBOL}[];
extern const size_t ${SYMBOL}_size;
const unsigned char ${SYMBOL}[] = {
${bytes}0};
const size_t ${SYMBOL}_size = sizeof ${SYMBOL} - 1;
")
  return()
endif()

set(KVC_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

function(kvc_embed target symbol file)
  set(output ${CMAKE_CURRENT_BINARY_DIR}/${symbol}.c)
  add_custom_command(OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DINPUT=${file} -DOUTPUT=${output} -DSYMBOL=${symbol} -P ${KVC_EMBED_SCRIPT}
    DEPENDS ${file} ${KVC_EMBED_SCRIPT} VERBATIM)
  target_sources(${target} PRIVATE ${output})
endfunction()
