# The files of the attention template and their joint hash, which images carry: a loader and a compiler of another template
# refuse each other's. Sets `files` (paths in kernels/, sorted) and `hash` (SHA-256 of what sha256sum prints for them there).
function(kvc_template_hash files hash)
  set(kernels ${CMAKE_SOURCE_DIR}/kernels)
  file(GLOB paths CONFIGURE_DEPENDS RELATIVE ${kernels} ${kernels}/device.cuh ${kernels}/fragment/*.cuh
    ${kernels}/template/*.cuh ${kernels}/template/*.cu ${kernels}/template/*.h)
  list(SORT paths)
  set(sums "")
  foreach(path ${paths})
    file(SHA256 ${kernels}/${path} sum)
    string(APPEND sums "${sum}  ${path}\n")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${kernels}/${path})
  endforeach()
  string(SHA256 joint "${sums}")
  set(${files} ${paths} PARENT_SCOPE)
  set(${hash} ${joint} PARENT_SCOPE)
endfunction()
